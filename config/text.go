package config

import (
	"bytes"
	"errors"
	"unicode/utf8"
)

var (
	errUTF16   = errors.New("the file is UTF-16: save it as UTF-8")
	errNotUTF8 = errors.New("the file is not UTF-8 text: save it as UTF-8")
)

// utf8Text returns a file's text without the byte order mark that some editors put before it. It refuses other encodings,
// because they cannot be recognized reliably.
func utf8Text(data []byte) ([]byte, error) {
	switch {
	case isUTF16(data):
		return nil, errUTF16
	case !utf8.Valid(data):
		return nil, errNotUTF8
	}
	return bytes.TrimPrefix(data, []byte("\ufeff")), nil
}

// isUTF16 recognizes UTF-16 by its byte order mark or, without one, by a first character below 256.
func isUTF16(data []byte) bool {
	return bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) ||
		len(data) > 1 && (data[0] == 0) != (data[1] == 0)
}
