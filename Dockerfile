# A static binary, the roots of the public certificate authorities, and nothing else. The
# time zones are in the binary. Works with a read-only root; the ledger's directory is the
# only place that is written.
#
#   docker build -t archiverd .
#   docker buildx build --platform linux/amd64,linux/arm64 -t archiverd .
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETOS TARGETARCH
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -o /image/archiverd ./cmd/archiverd && \
    cp /etc/ssl/certs/ca-certificates.crt /image/ && \
    mkdir -p /image/lib/archiverd

FROM scratch
COPY --from=build /image/archiverd /usr/bin/archiverd
COPY --from=build /image/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# A new volume mounted on /var/lib/archiverd gets its owner from here.
COPY --from=build --chown=65532:65532 /image/lib /var/lib
USER 65532:65532
EXPOSE 9817
ENTRYPOINT ["/usr/bin/archiverd"]
CMD ["run"]
