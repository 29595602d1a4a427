package config

import "errors"

// errOther says that more than the secret has changed in the configuration.
var errOther = errors.New("more than the secret has changed in the configuration: reload it")

// StorageKeysAgain reads the store's access key again: both its parts may have been replaced.
func (c *Config) StorageKeysAgain() (id, secret string, err error) {
	now, err := c.Again()
	if err != nil {
		return "", "", err
	}
	if now.Storage.Endpoint != c.Storage.Endpoint || now.Storage.Bucket != c.Storage.Bucket || now.Storage.AccessKeyID == "" {
		return "", "", errOther
	}
	return now.Storage.AccessKeyID, now.Storage.SecretAccessKey.Reveal(), nil
}

// ClientSecretAgain reads the secret of an organization's client again.
func (c *Config) ClientSecretAgain(o Organization) (string, error) {
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
