package genesystest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// listenTLS serves l with the Cloud's certificate, which is made at its first use. HTTP/1.1 only.
func (c *Cloud) listenTLS(l net.Listener) (net.Listener, error) {
	if c.keyPair.Certificate == nil {
		if err := c.makeCertificate(); err != nil {
			return nil, fmt.Errorf("genesystest: make certificate: %w", err)
		}
	}
	return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{c.keyPair}, MinVersion: tls.VersionTLS12}), nil
}

func (c *Cloud) makeCertificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-24 * time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:     []string{"localhost"},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	c.keyPair = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	c.certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return nil
}
