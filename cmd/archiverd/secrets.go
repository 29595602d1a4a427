package main

import (
	"errors"

	"github.com/archiverd/archiverd/config"
)

// errOther says that more than the secret has changed in the configuration.
var errOther = errors.New("more than the secret has changed in the configuration: reload it")

// storageKeys reads the store's access key again: both its parts may have been replaced.
func storageKeys(c *config.Config) func() (id, secret string, err error) {
	return func() (id, secret string, err error) {
		now, err := c.Again()
		if err != nil {
			return "", "", err
		}
		if now.Storage.Endpoint != c.Storage.Endpoint || now.Storage.Bucket != c.Storage.Bucket || now.Storage.AccessKeyID == "" {
			return "", "", errOther
		}
		return now.Storage.AccessKeyID, now.Storage.SecretAccessKey.Reveal(), nil
	}
}

// clientSecret reads the secret of an organization's client again.
func clientSecret(c *config.Config, o config.Organization) func() (string, error) {
	return func() (string, error) {
		now, err := c.Again()
		if err != nil {
			return "", err
		}
		for _, is := range now.Organizations {
			if is.Name == o.Name && is.LoginURL == o.LoginURL && is.ClientID == o.ClientID {
				return is.ClientSecret.Reveal(), nil
			}
		}
		return "", errOther
	}
}
