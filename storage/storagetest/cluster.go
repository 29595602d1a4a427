package storagetest

import (
	_ "embed"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// CephRGW starts a Ceph object gateway for a test: see [StartCephRGW].
func CephRGW(t testing.TB) *Server { t.Helper(); return run(t, StartCephRGW) }

// SeaweedFS starts SeaweedFS for a test: see [StartSeaweedFS].
func SeaweedFS(t testing.TB) *Server { t.Helper(); return run(t, StartSeaweedFS) }

//go:embed ceph-rgw
var cephRGW string

// StartCephRGW starts radosgw and the one-node Ceph cluster that it needs, from the
// system's packages, with all data in memory.
func StartCephRGW() (*Server, error) {
	can := Capabilities{Authentication: true, Locks: true, VersionedHead: true, VersionPages: true, UploadsListed: true, Lifecycle: true}
	return startProgram("ceph-rgw", "/bin/bash", can, func(s *Server, address, dir string) (args, env []string, err error) {
		ports, err := freePorts(1)
		if err != nil {
			return nil, nil, err
		}
		_, port, err := net.SplitHostPort(address)
		return []string{"-c", cephRGW, "ceph-rgw", dir, port, ports[0]}, []string{"ACCESS_KEY=" + s.AccessKey, "SECRET_KEY=" + s.SecretKey}, err
	})
}

// StartSeaweedFS starts .tools/weed on a directory of its own. It listens and reports
// only on loopback.
func StartSeaweedFS() (*Server, error) {
	return start("weed", everything(), func(s *Server, address, dir string) (args, env []string, err error) {
		ports, err := freePorts(7)
		if err != nil {
			return nil, nil, err
		}
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, nil, err
		}
		keys := filepath.Join(dir, "keys.json")
		args = []string{"-logdir=" + dir, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-dir=" + dir, "-filer", "-s3", "-s3.config=" + keys, "-s3.port=" + port,
			"-s3.port.grpc=" + ports[0], "-filer.port=" + ports[1], "-filer.port.grpc=" + ports[2], "-master.port=" + ports[3], "-master.port.grpc=" + ports[4],
			"-volume.port=" + ports[5], "-volume.port.grpc=" + ports[6], "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false",
			"-filer.localSocket=" + filepath.Join(dir, "filer.sock"), "-s3.localSocket=" + filepath.Join(dir, "s3.sock"),
			"-s3.autoCreateBucket=false", "-volume.max=2000", "-master.volumeSizeLimitMB=64"}
		return args, []string{"WEED_MASTER_VOLUME_GROWTH_COPY_1=1", "HOME=" + dir}, writeKeys(keys, s) // each bucket has its own volumes
	})
}

// writeKeys writes SeaweedFS' file of users, with one user who may do everything.
func writeKeys(path string, s *Server) error {
	type m map[string]any
	b, err := json.Marshal(m{"identities": []m{{
		"name": "user", "actions": []string{"Admin", "Read", "Write", "List", "Tagging"},
		"credentials": []m{{"accessKey": s.AccessKey, "secretKey": s.SecretKey}},
	}}})
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

// freePorts returns n ports that nothing listens on.
func freePorts(n int) (ports []string, err error) {
	for range n {
		address, err := FreeAddress()
		if err != nil {
			return nil, err
		}
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}
