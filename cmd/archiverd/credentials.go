package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/storage"
)

// removalFlags are the flags of the commands that remove what is stored.
type removalFlags struct {
	file, profile string
}

func addRemoval(c *cobra.Command) *removalFlags {
	f := &removalFlags{}
	c.Flags().StringVar(&f.file, "credentials", "", "`file` with credentials that may delete, in the form of AWS' shared credentials file; read for this command alone, and never stored")
	c.Flags().StringVar(&f.profile, "profile", "default", "`section` of that file")
	return f
}

// maxCredentials bounds the bytes of a file of credentials.
const maxCredentials = 64 << 10

// remover opens the bucket with the credentials of the flags.
func (a *app) remover(ctx context.Context, c *config.Config, f *removalFlags) (*storage.Remover, error) {
	if f.file == "" {
		return nil, fail(exitUsage, errors.New("--credentials is required: archiverd's own credentials hold no right to delete"))
	}
	text, err := a.readFile(f.file, maxCredentials)
	if err != nil {
		return nil, fail(exitUsage, fmt.Errorf("--credentials: %w", err))
	}
	keys, err := parseCredentials(string(text), f.profile)
	if err != nil {
		return nil, fail(exitUsage, fmt.Errorf("--credentials %s: %w", f.file, err))
	}
	o, err := storageOptions(c, nil)
	if err != nil {
		return nil, err
	}
	o.AccessKeyID, o.SecretAccessKey, o.SessionToken, o.Again = keys["aws_access_key_id"], keys["aws_secret_access_key"], keys["aws_session_token"], nil
	b, err := storage.Open(ctx, o)
	if err != nil {
		return nil, fail(exitUsage, err)
	}
	return storage.NewRemover(b), nil
}

// parseCredentials reads a section of a shared credentials file. Its errors show no secret.
func parseCredentials(text, section string) (map[string]string, error) {
	keys := map[string]string{}
	in, found := false, false
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
			continue
		case line[0] == '[':
			in = strings.TrimSpace(strings.Trim(line, "[]")) == section
			found = found || in
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, fmt.Errorf("line %d is neither a section nor a name and a value", n+1)
		}
		if in {
			keys[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
		}
	}
	switch {
	case !found:
		return nil, fmt.Errorf("it has no section [%s]", section)
	case keys["aws_access_key_id"] == "" || keys["aws_secret_access_key"] == "":
		return nil, fmt.Errorf("section [%s] lacks aws_access_key_id or aws_secret_access_key", section)
	}
	return keys, nil
}
