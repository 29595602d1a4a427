package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/archiverd/archiverd/storage/storagetest"
)

// workers is how many transfers each contender makes at a time.
const workers = 8

// rclone copies the links of all recordings, and a file of a manifest's size for
// each, as a user's script would.
func (b *bench) rclone(w workload, s3 *storagetest.Server, bucket string) (usage, error) {
	var list strings.Builder
	for i := range w.Inboxes {
		for n := range w.sizes {
			user := userID(i)
			fmt.Fprintf(&list, "%s/media/%s/%d?Signature=0123456789abcdef,media/%s/%08d.wav\n", b.origin.url, user, n, user, n)
			fmt.Fprintf(&list, "%s/manifest/%s/%d,manifests/%s/%08d.json\n", b.origin.url, user, n, user, n)
		}
	}
	urls := filepath.Join(b.dir, "urls.csv")
	if err := os.WriteFile(urls, []byte(list.String()), 0o600); err != nil {
		return usage{}, err
	}
	c := exec.Command(b.rclonePath, "copyurl", "--urls", urls, "store:"+bucket, "--transfers", fmt.Sprint(workers))
	c.Env = []string{
		"HOME=" + b.dir, "RCLONE_CONFIG=" + filepath.Join(b.dir, "rclone.conf"),
		"RCLONE_CONFIG_STORE_TYPE=s3", "RCLONE_CONFIG_STORE_PROVIDER=Minio",
		"RCLONE_CONFIG_STORE_ENDPOINT=" + s3.Endpoint, "RCLONE_CONFIG_STORE_REGION=" + s3.Region,
		"RCLONE_CONFIG_STORE_ACCESS_KEY_ID=" + s3.AccessKey, "RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY=" + s3.SecretKey,
		"RCLONE_CONFIG_STORE_NO_CHECK_BUCKET=true",
	}
	u, _, err := measure(c)
	return u, err
}
