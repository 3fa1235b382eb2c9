package main

import (
	"embed"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/flosch/pongo2/v6"
)

// render.go is the template half of the execution: it makes the command of a pool's executor_command, strictly (a name
// that does not exist is an error) and shell-safely (a value that a shell would not take as one plain word is one).
// The engine lexes the template, checker looks at every tag and name, and every output, {{ … }}, is rewritten into a
// tag of ours, so that no value gets into the command but through printNode.
//
// This is robustness, not a border: who may edit a pool may edit its command.

// commandLimit is the longest command that Linux takes as one argument (MAX_ARG_STRLEN, with its closing NUL).
const commandLimit = 128<<10 - 1

// The tags that exist for the sake of this file, and the name under which they find what they share.
const (
	lexTag    = "vespene_lex"
	printTag  = "vespene_print"
	renderKey = "vespene_rendering"
)

// registerTags registers what the engine keeps for the whole process, when the first template is rendered.
var registerTags = sync.OnceValue(func() error {
	return errors.Join(
		pongo2.RegisterTag(lexTag, parseLexTag),
		pongo2.RegisterTag(printTag, parsePrintTag),
		pongo2.RegisterFilter("quote", quoteFilter))
})

// noFiles is what a set loads templates from: nothing.
var noFiles = pongo2.NewFSLoader(embed.FS{})

// rendering is one template on its way to a command.
type rendering struct {
	source    string
	names     pongo2.Context
	set       *pongo2.TemplateSet
	tokens    []*pongo2.Token // of the source
	outputs   []string        // the text of each {{ … }}, for messages
	rewritten bool            // the positions in errors are not those of the source any more
}

// render makes the command line of a pool's template. The error is a sentence about executor_command.
func render(p pool, planned plan, previousSize *int64) (line string, err error) {
	r := &rendering{source: strings.ReplaceAll(planned.command, "\r\n", "\n"), set: pongo2.NewSet("", noFiles)}
	r.names = pongo2.Context{
		"worker_pool": p.columns, "worker": p.columns, "variables": planned.variables,
		"size": planned.size, "queued_size": planned.queuedSize,
		"queued": planned.queued, "running": planned.running, "previous_size": nil,
		renderKey: r,
	}
	if previousSize != nil {
		r.names["previous_size"] = *previousSize
	}
	if line, err = r.execute(); err != nil {
		return "", r.sentence(err)
	}
	return line, nil
}

// execute lexes, checks, rewrites and executes the template.
func (r *rendering) execute() (line string, err error) {
	defer func() {
		if reason := recover(); reason != nil { // the engine panics on a division by zero, among others
			line, err = "", fmt.Errorf("the template engine stopped: %v", reason)
		}
	}()
	if err := errors.Join(registerTags(), printable(r.source)); err != nil {
		return "", err
	}
	if err := r.lex(); err != nil {
		return "", err
	}
	rewritten, err := r.check()
	if err != nil {
		return "", err
	}
	if _, err := r.set.FromString(r.source); err != nil { // what is malformed is found at its own position
		return "", err
	}
	r.rewritten = true
	template, err := r.set.FromString(rewritten)
	if err != nil {
		return "", err
	}
	if line, err = template.Execute(r.names); err != nil {
		return "", err
	}
	line = strings.ReplaceAll(line, "\r\n", "\n")
	switch err := printable(line); {
	case err != nil:
		return "", fmt.Errorf("what it renders to cannot be run: %w", err)
	case strings.TrimSpace(line) == "":
		return "", errors.New(`nothing to run: write the command that sizes the pool, such as resize "$VESPENE_POOL" "$VESPENE_SIZE"`)
	case len(line) > commandLimit:
		return "", fmt.Errorf("what it renders to is longer than %d bytes: call a script instead", commandLimit)
	}
	return line, nil
}

// sentence makes one sentence of an error of the engine's or of ours.
func (r *rendering) sentence(err error) error {
	var e *pongo2.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("executor_command: %w", err)
	}
	if r.rewritten || e.Line < 1 {
		return fmt.Errorf("executor_command: %w", e.OrigError)
	}
	near := ""
	if e.Token != nil {
		near = fmt.Sprintf(" near %q", e.Token.Val)
	}
	return fmt.Errorf("executor_command, line %d column %d%s: %w", e.Line, e.Column, near, e.OrigError)
}

// lex fills in the tokens of the source.
func (r *rendering) lex() error {
	template, err := r.set.FromString("{% " + lexTag + " %}\n" + r.source)
	if err == nil {
		_, err = template.Execute(r.names)
	}
	var e *pongo2.Error
	if errors.As(err, &e) {
		e.Line-- // the line of lexTag
	}
	return err
}

// lexNode holds the tokens of a document.
type lexNode []*pongo2.Token

// parseLexTag takes all tokens, so that the engine parses none of them.
func parseLexTag(doc *pongo2.Parser, _ *pongo2.Token, _ *pongo2.Parser) (pongo2.INodeTag, *pongo2.Error) {
	var tokens lexNode
	for ; doc.Remaining() > 0; doc.Consume() {
		token := *doc.Current()
		token.Line-- // the line of lexTag
		tokens = append(tokens, &token)
	}
	return tokens, nil
}

func (n lexNode) Execute(ctx *pongo2.ExecutionContext, _ pongo2.TemplateWriter) *pongo2.Error {
	ctx.Public[renderKey].(*rendering).tokens = n
	return nil
}

// printNode is one {{ … }}: the only way in which a value gets into the command.
type printNode struct {
	index      int // of rendering.outputs
	expression pongo2.IEvaluator
}

func parsePrintTag(_ *pongo2.Parser, _ *pongo2.Token, arguments *pongo2.Parser) (pongo2.INodeTag, *pongo2.Error) {
	index, err := strconv.Atoi(arguments.MatchType(pongo2.TokenNumber).Val)
	if err != nil {
		return nil, arguments.Error(err.Error(), nil)
	}
	expression, parseErr := arguments.ParseExpression()
	return &printNode{index, expression}, parseErr
}

func (n *printNode) Execute(ctx *pongo2.ExecutionContext, writer pongo2.TemplateWriter) *pongo2.Error {
	value, err := n.expression.Evaluate(ctx)
	if err != nil {
		return err
	}
	before := writer.(fmt.Stringer).String() // a bytes.Buffer; anything else panics, which is an error too
	word, printErr := shellWord(value.Interface(), n.expression.FilterApplied("safe"), before)
	if printErr == nil && len(before)+len(word) > commandLimit {
		printErr = fmt.Errorf("makes the command longer than %d bytes: call a script instead", commandLimit)
	}
	if printErr != nil {
		text := ctx.Public[renderKey].(*rendering).outputs[n.index]
		return ctx.OrigError(fmt.Errorf("%s %w", text, printErr), nil)
	}
	writer.WriteString(word)
	return nil
}

// quoted is a string that |quote has made one word for the shell. Any other filter makes a plain string of it again.
type quoted string

func quoteFilter(in, _ *pongo2.Value) (*pongo2.Value, *pongo2.Error) {
	text, err := plainText(in.Interface())
	if err != nil {
		return nil, &pongo2.Error{Sender: "filter:quote", OrigError: fmt.Errorf("what is quoted %w", err)}
	}
	return pongo2.AsValue(quoted("'" + strings.ReplaceAll(text, "'", `'\''`) + "'")), nil
}

// shellWord is what a value becomes in a command that has begun with before. A string must be one plain word, unless it
// is declared safe, or quoted and stands where quotes mean something.
func shellWord(value any, safe bool, before string) (string, error) {
	text, err := plainText(value)
	if err != nil {
		return "", err
	}
	switch value.(type) {
	case quoted:
		if open := openQuote(before); open != "" {
			return "", fmt.Errorf("is quoted, but stands inside %s already: take those away, or the |quote", open)
		}
	case string:
		if !safe && !plainWord(text) {
			return "", fmt.Errorf(`is %q, which a shell would not take as one plain word: write "$VESPENE_POOL" for the `+
				`pool's name, else add |quote, or |safe where the shell is to read it`, text)
		}
	}
	return text, nil
}

// plainText prints a value: numbers shortest, booleans as True and False, NULL as nothing, times as RFC 3339.
func plainText(value any) (string, error) {
	if t, ok := value.(time.Time); ok {
		return t.Format(time.RFC3339Nano), nil
	}
	switch v := reflect.ValueOf(value); {
	case value == nil:
		return "", nil
	case v.Kind() == reflect.String:
		return v.String(), nil
	case v.Kind() == reflect.Bool && v.Bool():
		return "True", nil
	case v.Kind() == reflect.Bool:
		return "False", nil
	case v.CanInt():
		return strconv.FormatInt(v.Int(), 10), nil
	case v.CanFloat() && (math.IsNaN(v.Float()) || math.IsInf(v.Float(), 0)):
		return "", fmt.Errorf("is %v, which is no number", v.Float())
	case v.CanFloat():
		return strconv.FormatFloat(v.Float(), 'f', -1, 64), nil
	case v.Kind() == reflect.Slice:
		return "", errors.New("is a list, which has no place in a command: use |join or {% for %}")
	}
	return "", fmt.Errorf("is a %v, which has no place in a command: name what of it is meant", reflect.TypeOf(value).Kind())
}

// plainWord tells whether every shell takes s as one word, or as nothing, and no program as an option.
func plainWord(s string) bool {
	return !strings.HasPrefix(s, "-") && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_@%+=:,./-", r))
	})
}

// openQuote names what the shell is inside of at the end of the text and where quotes do not quote; "" if nothing.
func openQuote(text string) string {
	var quote, previous rune
	escaped, comment, hereDocument := false, false, false
	for _, r := range text {
		switch {
		case comment:
			comment = r != '\n'
		case escaped:
			escaped = false
		case r == '\\' && quote != '\'':
			escaped = true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
		case r == '\'' || r == '"' || r == '`':
			quote = r
		case r == '#' && (previous == 0 || unicode.IsSpace(previous) || strings.ContainsRune(";&|()", previous)):
			comment = true
		case r == '<' && previous == '<':
			hereDocument = true
		}
		previous = r
	}
	switch {
	case quote != 0:
		return "quotes (" + string(quote) + ")"
	case escaped:
		return "a \\"
	case comment:
		return "a comment"
	case hereDocument:
		return "a here-document (<<)"
	}
	return ""
}

// printable refuses what a shell would cut or misread, and a log not show.
func printable(text string) error {
	if !utf8.ValidString(text) {
		return errors.New("not valid UTF-8")
	}
	for i, r := range text {
		if unicode.IsControl(r) && r != '\t' && r != '\n' {
			return fmt.Errorf("control character %U behind %d bytes: of those only tab and newline are allowed", r, i)
		}
	}
	return nil
}

// check sees that the template uses only the allowed tags, and names that exist, and returns it with every output
// rewritten to a printTag.
func (r *rendering) check() (rewritten string, err error) {
	names := map[string][]any{}
	for name, value := range r.names {
		names[name] = []any{value}
	}
	delete(names, renderKey)
	c := checker{{names: names}}
	lines := strings.SplitAfter(r.source, "\n")
	copied, inComment := 0, false
	for rest := r.tokens; len(rest) > 0; {
		open := rest[0]
		rest = rest[1:]
		if open.Typ == pongo2.TokenHTML {
			continue
		}
		end := slices.IndexFunc(rest, func(t *pongo2.Token) bool {
			return t.Typ == pongo2.TokenHTML || isSymbol(t, "{{", "{%", "}}", "%}")
		})
		if end < 0 || open.Val+rest[end].Val != "{{}}" && open.Val+rest[end].Val != "{%%}" {
			return "", at(open, "is not closed, or holds what means nothing there")
		}
		inside, shut := rest[:end], rest[end]
		rest = rest[end+1:]
		switch isTag := open.Val == "{%" && len(inside) > 0; {
		case inComment:
			inComment = !isTag || inside[0].Val != "endcomment"
			if !inComment && len(inside) > 1 { // the engine would look for the end of this for ever
				return "", at(inside[1], "endcomment takes no arguments")
			}
		case isTag:
			inComment = inside[0].Val == "comment"
			if err := c.tag(inside[0], inside[1:]); err != nil {
				return "", err
			}
		case open.Val == "{{":
			if err := c.expression(inside); err != nil {
				return "", err
			}
			left, from := symbolAt(open, lines)
			right, to := symbolAt(shut, lines)
			output := r.source[from : to+len(right)]
			if !strings.HasPrefix(output, left) || !strings.HasSuffix(output, right) {
				return "", at(open, "the template engine has lost its place")
			}
			rewritten += fmt.Sprintf("%s{%%%s %s %d %s%s%%}", r.source[copied:from], left[2:], printTag, len(r.outputs),
				r.source[from+len(left):to], right[:len(right)-2])
			copied = to + len(right)
			r.outputs = append(r.outputs, output)
		}
	}
	return rewritten + r.source[copied:], nil
}

// symbolAt returns a symbol as it is written, with the - that trims white space, and its offset.
func symbolAt(t *pongo2.Token, lines []string) (written string, offset int) {
	for _, line := range lines[:t.Line-1] {
		offset += len(line)
	}
	written = t.Val
	if t.TrimWhitespaces && strings.HasPrefix(written, "{") {
		written += "-"
	} else if t.TrimWhitespaces {
		written = "-" + written
	}
	return written, offset + t.Col - 1
}

func isSymbol(t *pongo2.Token, symbols ...string) bool {
	return t.Typ == pongo2.TokenSymbol && slices.Contains(symbols, t.Val)
}

func isKeyword(t *pongo2.Token, keyword string) bool {
	return t.Typ == pongo2.TokenKeyword && t.Val == keyword
}

// at is an error of the template at a token.
func at(t *pongo2.Token, format string, args ...any) error {
	return &pongo2.Error{Line: t.Line, Column: t.Col, Token: t, OrigError: fmt.Errorf(format, args...)}
}

// checker knows the names that exist where it is in the template: in the scope of each open tag, the innermost last.
type checker []*scope

// scope has the values that each name may have; nil for one made by with or set, whose value only the run knows.
type scope struct {
	tag     string // if, for or with; "" for the template
	names   map[string][]any
	inEach  map[string][]any // of an if: the names that each branch so far has set
	hasElse bool
}

// tag checks one tag and opens, changes or closes a scope.
func (c *checker) tag(name *pongo2.Token, arguments []*pongo2.Token) error {
	inner := (*c)[len(*c)-1]
	within := map[string]string{"elif": "if", "else": "if", "endif": "if", "empty": "for", "endfor": "for", "endwith": "with"}
	if tag, ok := within[name.Val]; ok && tag != inner.tag {
		return at(name, "there is no %s that it could belong to", tag)
	}
	switch name.Val {
	case "comment":
		return nil
	case "if":
		*c = append(*c, &scope{tag: "if", names: map[string][]any{}})
		return c.expression(arguments)
	case "elif", "else":
		inner.endBranch()
		inner.hasElse = name.Val == "else"
		return c.expression(arguments)
	case "endif":
		inner.endBranch()
		*c = (*c)[:len(*c)-1]
		if inner.hasElse {
			maps.Copy((*c)[len(*c)-1].names, inner.inEach)
		}
		return nil
	case "for":
		return c.forTag(name, arguments)
	case "empty":
		inner.names = map[string][]any{"forloop": inner.names["forloop"]}
		return nil
	case "with":
		names, values := map[string][]any{}, []*pongo2.Token(nil)
		for i, t := range arguments { // NAME=VALUE …, or VALUE as NAME
			if i+1 < len(arguments) && isSymbol(arguments[i+1], "=") || i > 0 && isKeyword(arguments[i-1], "as") {
				names[t.Val] = nil
			} else {
				values = append(values, t)
			}
		}
		err := c.expression(values)
		*c = append(*c, &scope{tag: "with", names: names})
		return err
	case "endfor", "endwith":
		*c = (*c)[:len(*c)-1]
		return nil
	case "set":
		if len(arguments) < 2 {
			return at(name, "write {%% set NAME = VALUE %%}")
		}
		err := c.expression(arguments[2:])
		inner.names[arguments[0].Val] = nil
		return err
	}
	return at(name, "this tag is not allowed; those are: if, for, with, set, comment, verbatim")
}

// endBranch keeps of the names that an if has set those that every branch so far has.
func (s *scope) endBranch() {
	if s.inEach == nil {
		s.inEach = s.names
	}
	maps.DeleteFunc(s.inEach, func(name string, _ []any) bool {
		_, set := s.names[name]
		return !set
	})
	s.names = map[string][]any{}
}

// forTag checks {% for NAME[, NAME] in VALUES [reversed] [sorted] %}. What its names stand for is known where VALUES is a
// plain name, so that their attributes can be checked.
func (c *checker) forTag(name *pongo2.Token, arguments []*pongo2.Token) error {
	in := slices.IndexFunc(arguments, func(t *pongo2.Token) bool { return isKeyword(t, "in") })
	if in != 1 && in != 3 || len(arguments) == in+1 {
		return at(name, "write {%% for NAME in LIST %%} or {%% for KEY, VALUE in MAP %%}")
	}
	over, sorted := arguments[in+1:], false
	for _, order := range []string{"sorted", "reversed"} {
		if last := len(over) - 1; last > 0 && over[last].Val == order && over[last].Typ == pongo2.TokenIdentifier &&
			!isSymbol(over[last-1], ".", "|", ":") {
			over, sorted = over[:last], sorted || order == "sorted"
		}
	}
	if err := c.expression(over); err != nil {
		return err
	}
	var first, second []any
	if values, length, err := c.path(over); err == nil && length == len(over) && values != nil {
		first, second = []any{}, []any{}
		for _, value := range values {
			switch v := value.(type) {
			case []any:
				first, second = append(first, v...), nil
			case map[string]any:
				if !sorted { // the engine would take its keys in any order
					return at(over[0], "write {%% for KEY, VALUE in MAP sorted %%}, so that the command is the same each time")
				}
				first, second = append(first, ""), slices.AppendSeq(second, maps.Values(v))
			case string:
				first, second = append(first, ""), nil
			default:
				return at(over[0], "is neither a list nor a map, so that there is nothing to loop over")
			}
		}
	}
	loop := map[string]any{"Counter": 1, "Counter0": 0, "Revcounter": 1, "Revcounter0": 0, "First": true, "Last": true}
	if outer, _ := c.lookup("forloop"); outer != nil {
		loop["Parentloop"] = outer[0]
	}
	names := map[string][]any{"forloop": {loop}, arguments[0].Val: first}
	if in == 3 {
		if second == nil { // the engine would leave the second name empty
			return at(arguments[2], "a second name takes a map, named directly")
		}
		names[arguments[2].Val] = second
	}
	*c = append(*c, &scope{tag: "for", names: names})
	return nil
}

// expression checks every name in the tokens of an expression.
func (c *checker) expression(tokens []*pongo2.Token) error {
	for i := 0; i < len(tokens); {
		if tokens[i].Typ != pongo2.TokenIdentifier || i > 0 && isSymbol(tokens[i-1], "|") { // or a filter's name
			i++
			continue
		}
		_, length, err := c.path(tokens[i:])
		if err != nil {
			return err
		}
		i += length
	}
	return nil
}

// lookup returns the values that a name may have, nil where only the run knows.
func (c *checker) lookup(name string) (values []any, found bool) {
	for _, s := range slices.Backward(*c) {
		if values, found = s.names[name]; found {
			return values, true
		}
	}
	return nil, false
}

// path follows a name and its attributes from the first token on. It returns the values that this may be, nil where
// only the run knows, and of how many tokens it is. What does not exist is an error unless |default follows.
func (c *checker) path(tokens []*pongo2.Token) (values []any, length int, err error) {
	values, found := c.lookup(tokens[0].Val)
	if !found {
		err = at(tokens[0], "there is no such name (there are worker_pool.COLUMN, variables.NAME, size, queued_size, queued, "+
			"running, previous_size)")
	}
	length = 1
	for rest := tokens[1:]; ; rest = tokens[length:] {
		var key *pongo2.Token
		switch {
		case len(rest) > 1 && isSymbol(rest[0], "."):
			key = rest[1]
			length += 2
		case len(rest) > 2 && isSymbol(rest[0], "[") && isSymbol(rest[2], "]") && rest[1].Typ != pongo2.TokenIdentifier:
			key = rest[1]
			length += 3
		case len(rest) > 0 && isSymbol(rest[0], "["):
			return nil, 0, at(rest[0], "only one text or number may stand in brackets")
		case len(rest) > 0 && isSymbol(rest[0], "("):
			return nil, 0, at(tokens[0], "there are no functions")
		case len(rest) > 1 && isSymbol(rest[0], "|") && strings.HasPrefix(rest[1].Val, "default"):
			return values, length, nil
		default:
			return values, length, err
		}
		if err == nil {
			values, err = attribute(values, key)
		}
	}
}

// attribute returns what the key may stand for in any of the values.
func attribute(values []any, key *pongo2.Token) (found []any, err error) {
	if values == nil {
		return nil, at(key, "names made by with or set have no attributes here: write out what they stand for")
	}
	found = []any{}
	for _, value := range values {
		index, _ := strconv.Atoi(key.Val)
		member, ok := any(nil), false
		switch v := value.(type) {
		case map[string]any:
			member, ok = v[key.Val]
			ok = ok && key.Typ != pongo2.TokenNumber
		case []any:
			if ok = key.Typ == pongo2.TokenNumber && index < len(v); ok {
				member = v[index]
			}
		}
		if !ok {
			return nil, at(key, "there is no such attribute or element")
		}
		found = append(found, member)
	}
	return found, nil
}
