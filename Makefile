# What the tests and checks need is installed below .tools, at the versions named here.
VERSITYGW   := github.com/versity/versitygw/cmd/versitygw@v1.8.0
MINIO       := github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
SEAWEEDFS   := github.com/seaweedfs/seaweedfs@v0.0.0-20261109003541-7506e5f91cd6
RCLONE      := github.com/rclone/rclone@v1.76.0
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
NFPM        := github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0
KUSTOMIZE   := sigs.k8s.io/kustomize/kustomize/v5@v5.8.2
VALIDATE    := sigs.k8s.io/kubectl-validate@v0.0.4
OPERATOR    := github.com/prometheus-operator/prometheus-operator@v0.85.0
CNPG        := github.com/cloudnative-pg/cloudnative-pg@v1.27.0

export GOBIN := $(CURDIR)/.tools

.PHONY: build demo demo-workers test bench bench-long bench-latency bench-workers reliability stores soak check packaging release tools clean

build: ## the binary, in bin/
	CGO_ENABLED=0 go build -trimpath -o bin/archiverd ./cmd/archiverd

demo: build ## archive a simulated inbox, twice, and look at the result
	go run ./integration_test/demo -archiverd bin/archiverd

demo-workers: build ## three workers share six inboxes; one is killed in the middle
	.ci/install pg_createcluster
	go run ./integration_test/demo -archiverd bin/archiverd -workers

test: tools ## every test, integration with real S3 servers and a browser included
	.ci/install chromium ffmpeg pg_createcluster promtool unzip
	go test -count=1 -parallel 3 -timeout 20m ./...

bench: build tools .tools/rclone ## measure beside rclone and write and print docs/performance.md; a quiet machine, please
	go run ./integration_test/bench -archiverd bin/archiverd -rclone .tools/rclone

bench-workers: build tools .tools/rclone ## several workers, failover, and ledgers of 1,000,000 and 10,000,000 in PostgreSQL; needs a disk, and a quiet machine
	.ci/install pg_createcluster
	go run ./integration_test/bench -archiverd bin/archiverd -rclone .tools/rclone -what workers

bench-long: build tools .tools/rclone ## growth, and a ledger of 10,000,000; needs gnuplot
	go run ./integration_test/bench -archiverd bin/archiverd -rclone .tools/rclone -what long

bench-latency: build tools .tools/rclone ## throughput where store, API and media host are 50 ms away
	go run ./integration_test/bench -archiverd bin/archiverd -rclone .tools/rclone -what latency

reliability: ## run the table of faults and write docs/reliability.md
	go test -count=1 ./cmd/archiverd -run TestFaults -update

stores: tools .tools/weed ## run against Ceph RGW and SeaweedFS too and write docs/stores.md; as root, some minutes
	.ci/install ceph-mgr ceph-mon ceph-osd radosgw
	go test -count=1 -timeout 30m ./storage -run TestServers -servers ceph-rgw,seaweedfs
	go test -count=1 -timeout 30m ./integration_test -run TestStores -servers versitygw,minio,ceph-rgw,seaweedfs -update

SEED ?= $(shell date +%s)
soak: tools ## kill archiverd hundreds of times at random moments, and 300 workers, for half an hour
	go test -count=1 -timeout 3h ./integration_test -run TestCrashes -v -kills 300 -seed $(SEED)
	go test -count=1 -timeout 3h ./integration_test -run TestWorkersCrash -v -kills 1200 -seed $(SEED)

check: tools .tools/staticcheck ## what CI checks beside the tests
	.ci/install ffmpeg pg_createcluster
	.ci/check

release: .tools/nfpm ## archives and packages of this commit, in dist/
	packaging/release dist

packaging: build .tools/nfpm .tools/kustomize .tools/kubectl-validate .tools/schemas ## check units, image, manifests, packages, and boot them; as root, on Debian
	.ci/install buildah debootstrap file rpm systemd-analyze systemd-nspawn
	.ci/packaging

tools: .tools/versitygw .tools/minio ## the S3 servers that tests run against

.tools/versitygw:
	go install $(VERSITYGW)

.tools/minio:
	go install $(MINIO)

.tools/weed: # its go.mod has a replace, with which go install refuses it
	dir=$$(mktemp -d) && trap 'rm -r "$$dir"' EXIT && cd "$$dir" && go mod init tools && \
	go get $(subst @,/weed@,$(SEAWEEDFS)) && go build -trimpath -o $(GOBIN)/ $(firstword $(subst @, ,$(SEAWEEDFS)))/weed

.tools/rclone:
	go install $(RCLONE)

.tools/staticcheck:
	go install $(STATICCHECK)

.tools/nfpm:
	go install $(NFPM)

.tools/kustomize:
	go install $(KUSTOMIZE)

.tools/kubectl-validate:
	go install $(VALIDATE)

.tools/schemas: # of PodMonitor, PrometheusRule and CloudNativePG's Cluster
	module() { go mod download -json "$$1" | sed -n 's/.*"Dir": "\(.*\)",/\1/p'; }; \
	install -D -m 0644 -t $@ "$$(module $(OPERATOR))"/example/prometheus-operator-crd/*_podmonitors.yaml \
	"$$(module $(OPERATOR))"/example/prometheus-operator-crd/*_prometheusrules.yaml \
	"$$(module $(CNPG))"/config/crd/bases/postgresql.cnpg.io_clusters.yaml

clean:
	rm -rf bin dist .tools
