package media

import (
	"bytes"

	"github.com/archiverd/archiverd/genesys"
)

// magicMatches reports whether head begins like format f, by the containers' own
// specifications: RIFF (RF64 beyond 4 GiB), EBML, Ogg with the codec's identification
// header on its first page, and MPEG audio layer III frames or an ID3v2 tag before them.
func magicMatches(f genesys.Format, head []byte) bool {
	switch f {
	case genesys.FormatWAV, genesys.FormatWAVULAW:
		return isWAV(head)
	case genesys.FormatWEBM:
		return isEBML(head)
	case genesys.FormatOggVorbis:
		return isOgg(head) && bytes.Contains(head, []byte("\x01vorbis"))
	case genesys.FormatOggOpus:
		return isOgg(head) && bytes.Contains(head, []byte("OpusHead"))
	case genesys.FormatMP3:
		return bytes.HasPrefix(head, []byte("ID3")) || len(head) >= 2 && head[0] == 0xFF && head[1]&0xE6 == 0xE2
	}
	return true // NONE: the original may be of any kind; Magic has refused text before
}

// recognize returns the parser of the container that the beginning shows, or nil.
func recognize(head []byte) parser {
	switch {
	case isWAV(head):
		return &wav{}
	case isOgg(head):
		return &ogg{}
	case isEBML(head):
		return &webm{}
	case isMP4(head):
		return &mp4{}
	case magicMatches(genesys.FormatMP3, head):
		return &mp3{}
	}
	return nil
}

func isWAV(head []byte) bool {
	return len(head) >= 12 && (string(head[:4]) == "RIFF" || string(head[:4]) == "RF64") && string(head[8:12]) == "WAVE"
}

func isOgg(head []byte) bool { return bytes.HasPrefix(head, []byte("OggS")) }

func isEBML(head []byte) bool { return bytes.HasPrefix(head, []byte{0x1A, 0x45, 0xDF, 0xA3}) }

// isMP4 reports whether head begins with a box that an ISO base media or QuickTime file
// may begin with.
func isMP4(head []byte) bool {
	if len(head) < 8 {
		return false
	}
	switch string(head[4:8]) {
	case "ftyp", "moov", "mdat", "wide", "styp":
		return true
	}
	return false
}

// textual returns the text format of an error page or API error, or "" for other bytes.
func textual(head []byte) string {
	for _, bom := range []string{"\xEF\xBB\xBF", "\xFE\xFF", "\xFF\xFE"} {
		if rest, ok := bytes.CutPrefix(head, []byte(bom)); ok {
			head = rest
			break
		}
	}
	head = bytes.TrimLeft(head, " \t\r\n\x00")
	switch {
	case len(head) == 0:
		return ""
	case head[0] == '{' || head[0] == '[':
		return "JSON"
	case bytes.HasPrefix(head, []byte("<?xml")) || bytes.HasPrefix(head, []byte("<\x00?")):
		return "XML"
	case head[0] == '<':
		return "HTML or XML"
	}
	return ""
}
