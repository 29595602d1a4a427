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
	maxNesting = 10     // and the parser recurses
)

// position is where something begins in the file; zero: nowhere.
type position struct{ line, column int }

func positionOf(tk *token.Token) position {
	if tk == nil || tk.Position == nil {
		return position{}
	}
	return position{tk.Position.Line, tk.Position.Column}
}

// readFile gives at most limit bytes of a file, or why it can't be read, without its name.
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
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// parse gives the file's root mapping. It notes faults and may give nil; where it
// gives both, there is more to find by decoding.
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
		if len(d.faults) == 0 { // else the survey named the cause
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

// unpanicked makes an error of a panic of the YAML library. None is known; but none is to end a service that reloads.
func unpanicked[T any](f func() (T, error)) (t T, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("not understood")
		}
	}()
	return f()
}

// plainText refuses what no YAML may hold and no terminal should get.
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

// survey notes what YAML allows and this file may not have. It gives false where
// the file would cost the parser too much.
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
			return false // what follows may be a document or not
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
	aliases      int  // the last line with one: a cron expression has several
	begun, ended bool // the first document
}

// next gives the problem with a token, if it is one.
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

// nest counts what makes the parser slow or recurse.
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

// syntaxFault notes what the parser says, without the excerpt of the file it would add:
// that may show secrets.
func (d *decoder) syntaxFault(err error, data []byte) {
	message, at := err.Error(), position{1, 1}
	var syntax yaml.Error
	if errors.As(err, &syntax) {
		message, at = syntax.GetMessage(), positionOf(syntax.GetToken())
	}
	message, _, _ = strings.Cut(message, ": ") // what follows quotes the file
	message = strings.ReplaceAll(strconv.Quote(message), `\"`, `"`)
	message = message[1 : len(message)-1] // it may name a tab by a tab
	remedy := "check indentation and quotes"
	if lines := bytes.Split(data, []byte("\n")); at.line >= 1 && at.line <= len(lines) && bytes.Contains(lines[at.line-1], []byte("${")) {
		remedy = `within {…} or […] write "${NAME}" with quotes`
	}
	d.fault(at, "", "not valid YAML: %s; %s", message, remedy)
}

// startOf is where a node begins, which for a block mapping is its first key.
func startOf(n ast.Node) position {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return positionOf(m.Values[0].Key.GetToken())
	}
	return positionOf(n.GetToken())
}

// kindOf names a node's type in the words of the faults.
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
