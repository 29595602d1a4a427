package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	maxFile    = 1 << 20
	maxTokens  = 50_000 // the parser's time grows with the square of a mapping's keys
	maxNesting = 10     // the parser recurses
)

// position is a place in the file; zero: no place.
type position struct{ line, column int }

func positionOf(tk *token.Token) position {
	if tk == nil || tk.Position == nil {
		return position{}
	}
	return position{tk.Position.Line, tk.Position.Column}
}

// readFile reads a file of at most limit bytes. Its error does not repeat the file's name.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("larger than %d KiB", limit>>10)
	}
	return data, withoutPath(err)
}

func withoutPath(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	return err
}

// parse returns the file's root mapping, or nil. It records faults; it may do so and
// still return the mapping, so that decoding finds more faults.
func (d *decoder) parse(data []byte) *ast.MappingNode {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if isUTF16(data) {
		d.fault(position{1, 1}, "", "%v", errUTF16)
		return nil
	}
	if !d.plainText(data) {
		return nil
	}
	tokens, err := unpanicked(func() (token.Tokens, error) { return lexer.Tokenize(string(data)), nil })
	if err == nil && !d.survey(tokens) {
		return nil
	}
	var file *ast.File
	if err == nil {
		file, err = unpanicked(func() (*ast.File, error) { return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) })
	}
	if err != nil {
		if len(d.faults) == 0 { // else survey has recorded the cause
			d.syntaxFault(err, data)
		}
		return nil
	}
	var root ast.Node
	if len(file.Docs) > 0 {
		root = file.Docs[0].Body
	}
	switch root := root.(type) {
	case *ast.MappingNode:
		return root
	case nil:
		d.fault(position{1, 1}, "", "the file is empty; start from archiverd.example.yaml")
	default:
		if len(d.faults) == 0 {
			d.fault(startOf(root), "", "want a mapping, such as organizations: …, got %s", kindOf(root))
		}
	}
	return nil
}

// unpanicked turns a panic of the YAML library into an error. No panic is known, but one must not end a service that reloads.
func unpanicked[T any](f func() (T, error)) (t T, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("not understood")
		}
	}()
	return f()
}

// plainText refuses control characters, which YAML forbids and a terminal should not get.
func (d *decoder) plainText(data []byte) bool {
	line, column := 1, 1
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 || r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f {
			d.fault(position{line, column}, "", "byte 0x%02x is not text; save the file as plain UTF-8", data[0])
			return false
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
		data = data[size:]
	}
	return true
}

// survey records YAML features that this file may not use. It returns false if parsing
// the file would take too long.
func (d *decoder) survey(tokens token.Tokens) bool {
	var s surveyor
	for _, tk := range tokens {
		if tk.Type == token.CommentType {
			continue
		}
		if problem := s.next(tk); problem != "" {
			d.fault(positionOf(tk), "", "%s", problem)
		}
		if tk.Type == token.DirectiveType {
			return false // the rest may or may not be a document
		}
		if s.count > maxTokens || s.flow+s.dashes > maxNesting {
			d.fault(positionOf(tk), "", "nested too deeply or too long for a configuration; remove what does not belong here")
			return false
		}
	}
	return true
}

// surveyor follows the tokens of one file.
type surveyor struct {
	count        int  // of tokens
	flow, dashes int  // collections open: […] and {…}, and sequences begun on this line
	line         int  // of the last token
	aliases      int  // the last line with an alias: a cron expression has several
	begun, ended bool // the first document
}

// next returns what is wrong with a token, or "".
func (s *surveyor) next(tk *token.Token) (problem string) {
	s.nest(tk)
	switch {
	case s.ended && tk.Type != token.DocumentEndType, s.begun && tk.Type == token.DocumentHeaderType:
		problem = "a second document begins here; keep one, without another --- or anything after ..."
		s.begun, s.ended = false, false
	}
	s.begun = true
	switch tk.Type {
	case token.DocumentEndType:
		s.ended = true
	case token.AliasType:
		if s.aliases != s.line {
			s.aliases = s.line
			return "text that begins with * needs quotes; YAML aliases are not supported"
		}
	case token.AnchorType:
		return "text that begins with & needs quotes; YAML anchors are not supported"
	case token.TagType:
		return "text that begins with ! needs quotes; YAML tags are not supported"
	case token.MappingKeyType:
		return "text that begins with ? needs quotes; complex YAML keys are not supported"
	case token.DirectiveType:
		return "text that begins with % needs quotes; YAML directives are not supported"
	case token.MergeKeyType:
		return "YAML merge keys (<<) are not supported; write the values out"
	}
	return problem
}

// nest counts the tokens and the nesting, which cost the parser time and stack.
func (s *surveyor) nest(tk *token.Token) {
	s.count++
	if line := positionOf(tk).line; line != s.line {
		s.line, s.dashes = line, 0
	}
	switch tk.Type {
	case token.SequenceEntryType:
		s.dashes++
	case token.SequenceStartType, token.MappingStartType:
		s.flow++
	case token.SequenceEndType, token.MappingEndType:
		s.flow = max(s.flow-1, 0)
	}
}

// syntaxFault records the parser's message without its excerpt of the file, which may show
// secrets.
func (d *decoder) syntaxFault(err error, data []byte) {
	message, at := err.Error(), position{1, 1}
	if syntax, ok := errors.AsType[yaml.Error](err); ok {
		message, at = syntax.GetMessage(), positionOf(syntax.GetToken())
	}
	message, _, _ = strings.Cut(message, ": ") // the rest quotes the file
	message = strings.ReplaceAll(strconv.Quote(message), `\"`, `"`)
	message = message[1 : len(message)-1] // Quote escapes a tab in the message
	remedy := "check indentation and quotes"
	if lines := bytes.Split(data, []byte("\n")); at.line >= 1 && at.line <= len(lines) && bytes.Contains(lines[at.line-1], []byte("${")) {
		remedy = `within {…} or […] write "${NAME}" with quotes`
	}
	d.fault(at, "", "not valid YAML: %s; %s", message, remedy)
}

// startOf returns where a node begins; a block mapping begins at its first key.
func startOf(n ast.Node) position {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return positionOf(m.Values[0].Key.GetToken())
	}
	return positionOf(n.GetToken())
}

// kindOf returns a node's type in the words of the faults.
func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode:
		return "a mapping"
	case *ast.NullNode:
		return "nothing"
	}
	return "something else"
}
