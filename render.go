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
	"mvdan.cc/sh/v3/syntax"
)

// render.go is the template half of the execution: it makes the command of a pool's executor_command, strictly (a name
// that does not exist is an error) and shell-safely (a value that a shell would not take as one plain word is one).
// The engine lexes the template, checker looks at every tag and name and rewrites what the engine is to do our way: each
// output, {{ … }}, becomes a tag of ours, so that no value gets into the command but through printNode; each filter and
// operator is given what it can take and no more (guards); each round of a loop is counted.
//
// This is robustness, not a border: who may edit a pool may edit its command.

const (
	// sourceLimit is far beyond what Vespene keeps, and what the engine's recursion can do.
	sourceLimit = 16 << 10

	// commandLimit is the longest command that Linux takes as one argument (MAX_ARG_STRLEN, with its closing NUL).
	commandLimit = 128<<10 - 1

	roundLimit = 10_000           // of all loops of a template together
	timeLimit  = 10 * time.Second // of the same
)

// What exists in the engine for the sake of this file begins with prefix; renderKey is where tags find what they share.
const (
	prefix       = "vespene_"
	lexTag       = prefix + "lex"
	printTag     = prefix + "print"
	roundTag     = prefix + "round"
	operandGuard = prefix + "operand"
	itemsGuard   = prefix + "items"
	renderKey    = prefix + "rendering"
)

// register registers what the engine keeps for the whole process, when the first template is rendered.
var register = sync.OnceValue(func() error {
	err := errors.Join(
		pongo2.RegisterTag(lexTag, parseLexTag),
		pongo2.RegisterTag(printTag, parsePrintTag),
		pongo2.RegisterTag(roundTag, parseRoundTag),
		pongo2.RegisterFilter("quote", quoteFilter),
		pongo2.RegisterFilter(operandGuard, guardOperand),
		pongo2.RegisterFilter(itemsGuard, guardItems))
	for name, takes := range filters {
		err = errors.Join(err, pongo2.RegisterFilter(prefix+name, guard(name, takes)))
	}
	return err
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
	begun     time.Time       // of the execution
	rounds    int             // of loops, so far
	quotes    []quotedWord
}

// quotedWord is where in the command something quoted stands, and by which of rendering.outputs.
type quotedWord struct{ offset, output int }

// render makes the command line of a pool's template. The error is a sentence about executor_command.
func render(p pool, planned plan, previousSize *int64) (line string, err error) {
	r := &rendering{source: strings.ReplaceAll(planned.command, "\r\n", "\n"), set: pongo2.NewSet("", noFiles)}
	r.names = pongo2.Context(told(facts(p, planned, previousSize), toTemplate))
	r.names[renderKey] = r
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
	if err := errors.Join(register(), printable(r.source)); err != nil {
		return "", err
	}
	if len(r.source) > sourceLimit {
		return "", fmt.Errorf("it is longer than %d bytes: call a script instead", sourceLimit)
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
	r.rewritten, r.begun = true, time.Now()
	template, err := r.set.FromString(rewritten)
	if err != nil {
		return "", err
	}
	if line, err = template.Execute(r.names); err != nil {
		return "", err
	}
	switch err := printable(line); {
	case err != nil:
		return "", fmt.Errorf("what it renders to cannot be run: %w", err)
	case strings.TrimSpace(line) == "":
		return "", errors.New(`nothing to run: write the command that sizes the pool, such as resize "$VESPENE_POOL" "$VESPENE_SIZE"`)
	case len(line) > commandLimit:
		return "", fmt.Errorf("what it renders to %w", errTooLong)
	}
	return line, r.checkQuotes(line)
}

var errTooLong = fmt.Errorf("is or makes the command longer than %d bytes: call a script instead", commandLimit)

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
	before := writer.(interface{ Len() int }).Len() // a bytes.Buffer; anything else panics, which is an error too
	safe := n.expression.FilterApplied("safe")
	word, isQuoted, printErr := shellWord(value.Interface(), safe)
	word = strings.ReplaceAll(word, "\r\n", "\n")
	if printErr == nil && before+len(word) > commandLimit {
		printErr = errTooLong
	}
	r := ctx.Public[renderKey].(*rendering)
	if printErr != nil {
		return ctx.OrigError(fmt.Errorf("%s %w", r.outputs[n.index], printErr), nil)
	}
	if isQuoted && !safe {
		r.quotes = append(r.quotes, quotedWord{before, n.index})
	}
	writer.WriteString(word)
	return nil
}

// roundNode begins each round of a loop, and ends one that goes on for too long.
type roundNode struct{}

func parseRoundTag(*pongo2.Parser, *pongo2.Token, *pongo2.Parser) (pongo2.INodeTag, *pongo2.Error) {
	return roundNode{}, nil
}

func (roundNode) Execute(ctx *pongo2.ExecutionContext, writer pongo2.TemplateWriter) *pongo2.Error {
	r := ctx.Public[renderKey].(*rendering)
	r.rounds++
	switch {
	case r.rounds > roundLimit:
		return ctx.OrigError(fmt.Errorf("its loops go round more than %d times: call a script instead", roundLimit), nil)
	case time.Since(r.begun) > timeLimit:
		return ctx.OrigError(fmt.Errorf("its loops take longer than %v: call a script instead", timeLimit), nil)
	case writer.(interface{ Len() int }).Len() > commandLimit:
		return ctx.OrigError(fmt.Errorf("what it renders to %w", errTooLong), nil)
	}
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

// shellWord is what a value becomes in a command. A string must be one plain word, unless it is declared safe, or quoted:
// whether quotes quote where it stands, only the whole command tells.
func shellWord(value any, safe bool) (word string, isQuoted bool, err error) {
	word, err = plainText(value)
	if err != nil {
		return "", false, err
	}
	_, isQuoted = value.(quoted)
	if reflect.ValueOf(value).Kind() == reflect.String && !isQuoted && !safe && !plainWord(word) {
		return "", false, fmt.Errorf(`is %.100q, which a shell would not take as one plain word: write "$VESPENE_POOL" for the `+
			`pool's name, else add |quote, or |safe where the shell is to read it`, word)
	}
	return word, isQuoted, nil
}

// checkQuotes sees that each quoted word stands where the shell reads it as one: by its grammar, not inside other quotes,
// a comment or anything else in which quotes do not quote.
func (r *rendering) checkQuotes(line string) error {
	if len(r.quotes) == 0 {
		return nil
	}
	begins, dollar := map[int]bool{}, false // quotes, by their offset
	file, err := parseShell(syntax.LangPOSIX, line)
	if err != nil { // bash is /bin/sh here and there, and knows more
		if bash, bashErr := parseShell(syntax.LangBash, line); bashErr == nil {
			file, err = bash, nil
		}
	}
	if err == nil {
		syntax.Walk(file, func(node syntax.Node) bool {
			switch n := node.(type) {
			case *syntax.SglQuoted:
				offset := int(n.Pos().Offset())
				begins[offset] = true
				dollar = dollar || n.Dollar || offset > 0 && line[offset-1] == '$'
			case *syntax.CmdSubst:
				return !n.Backquotes // in which a backslash means something
			case *syntax.Redirect:
				return n.Hdoc == nil
			case *syntax.ParamExp, *syntax.ArithmExp:
				return false
			}
			return true
		})
	}
	for _, q := range r.quotes {
		what := ""
		switch {
		case err != nil:
			what = fmt.Sprintf("how the shell reads the command cannot be told (%v): take away the quotes around it, or close those before it", err)
		case dollar:
			what = "the command has a $'…', which shells read in two ways: write '…' instead"
		case !begins[q.offset]:
			what = "stands inside quotes, a comment or something else in which quotes do not quote: take that away, or the |quote"
		default:
			continue
		}
		return fmt.Errorf("%s is quoted, but %s", r.outputs[q.output], what)
	}
	return nil
}

func parseShell(variant syntax.LangVariant, line string) (*syntax.File, error) {
	return syntax.NewParser(syntax.Variant(variant)).Parse(strings.NewReader(line), "")
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
	case v.CanUint():
		return strconv.FormatUint(v.Uint(), 10), nil
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

// takes says what a filter of the engine's can do something with; given something else it makes a guess.
type takes int

const (
	takesText   takes = iota // and what is printed as text
	takesValue               // a text, number, boolean or time
	takesNumber              // or a text that is one
	takesAny                 // a list or map, too
)

// filters are the engine's, by what they take. safe is missing, since it does nothing but be there.
var filters = map[string]takes{
	"addslashes": takesText, "capfirst": takesText, "center": takesText, "cut": takesText, "e": takesText, "escape": takesText,
	"escapejs": takesText, "get_digit": takesText, "iriencode": takesText, "linebreaks": takesText, "linebreaksbr": takesText,
	"linenumbers": takesText, "ljust": takesText, "lower": takesText, "make_list": takesText, "phone2numeric": takesText,
	"removetags": takesText, "rjust": takesText, "split": takesText, "striptags": takesText, "title": takesText,
	"truncatechars": takesText, "truncatechars_html": takesText, "truncatewords": takesText, "truncatewords_html": takesText,
	"upper": takesText, "urlencode": takesText, "urlize": takesText, "urlizetrunc": takesText, "wordcount": takesText,
	"wordwrap": takesText,
	"add":      takesValue, "date": takesValue, "pluralize": takesValue, "stringformat": takesValue, "time": takesValue, "yesno": takesValue,
	"divisibleby": takesNumber, "float": takesNumber, "floatformat": takesNumber, "integer": takesNumber,
	"default": takesAny, "default_if_none": takesAny, "first": takesAny, "join": takesAny, "last": takesAny, "length": takesAny,
	"length_is": takesAny, "random": takesAny, "slice": takesAny,
}

// guard returns the engine's filter of that name, with an error where that would guess, or take all memory.
func guard(name string, takes takes) pongo2.FilterFunction {
	return func(in, param *pongo2.Value) (*pongo2.Value, *pongo2.Error) {
		refuse := func(format string, args ...any) (*pongo2.Value, *pongo2.Error) {
			return nil, &pongo2.Error{Sender: "filter:" + name, OrigError: fmt.Errorf(format, args...)}
		}
		text, err := plainText(in.Interface())
		parameter, paramErr := plainText(param.Interface())
		switch {
		case takes != takesAny && errors.Join(err, paramErr) != nil:
			return refuse("what |%s is given %w", name, errors.Join(err, paramErr))
		case name == "add" && isNumeric(in) && isNumeric(param):
			in, _ = numeric(in)
			param, _ = numeric(param)
		case takes == takesText, name == "add" && !(in.IsNumber() && param.IsNumber()):
			if in = pongo2.AsValue(text); param.IsFloat() || param.IsTime() {
				param = pongo2.AsValue(parameter)
			}
		case takes == takesNumber:
			if in, err = numeric(in); err != nil {
				return refuse("what |%s is given %w", name, err)
			}
		case name == "join" && in.IsString():
			return refuse("what |join is given is a text, not a list")
		case name == "join" && in.CanSlice():
			words, length := make([]string, in.Len()), 0
			for i := range words {
				if words[i], err = plainText(in.Index(i).Interface()); err != nil {
					return refuse("what |join is given %w", err)
				}
				if length += len(words[i]) + len(parameter); length > commandLimit {
					return refuse("what |join gives %w", errTooLong)
				}
			}
			in = pongo2.AsValue(words)
		}
		width := slices.Contains([]string{"center", "floatformat", "ljust", "rjust"}, name)
		if width && (param.Integer() > commandLimit || param.Integer() < -commandLimit) {
			return refuse("what |%s gives %w", name, errTooLong)
		}
		out, filterErr := pongo2.ApplyFilter(name, in, param)
		if filterErr != nil || !out.IsString() {
			return out, filterErr
		}
		switch {
		case len(out.String()) > commandLimit:
			return refuse("what |%s gives %w", name, errTooLong)
		case name == "stringformat" && strings.Contains(out.String(), "%!"):
			return refuse("|stringformat gives %q: its format is not one for %q", out.String(), text)
		}
		return out, nil
	}
}

// numeric returns v as a number, which a text may be, too; NULL stays, and counts as zero.
func numeric(v *pongo2.Value) (*pongo2.Value, error) {
	text, err := plainText(v.Interface())
	switch {
	case err != nil:
		return nil, err
	case v.IsNil() || v.IsNumber():
		return v, nil
	case v.IsString():
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			return pongo2.AsValue(i), nil
		}
		if f, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(f) < 1<<53 {
			return pongo2.AsValue(f), nil
		}
	}
	return nil, fmt.Errorf("is %.100q, which is no number", text)
}

func isNumeric(v *pongo2.Value) bool {
	_, err := numeric(v)
	return err == nil && !v.IsNil()
}

// brackets stands for the operator of what must be a number because it stands in brackets that are reckoned with.
const brackets = "()"

// guardOperand is the filter of what stands beside the operator: the engine would take a text for zero, cut fractions
// off, and tell 3 from 3.0.
func guardOperand(in, operator *pongo2.Value) (*pongo2.Value, *pongo2.Error) {
	out, err := in, error(nil)
	switch op := operator.String(); op {
	case "==", "!=", "<>":
		if f := in.Float(); in.IsFloat() && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			out = pongo2.AsValue(int64(f))
		}
	case "+":
		text, textErr := plainText(in.Interface())
		_, numberErr := numeric(in)
		switch {
		case textErr != nil:
			err = textErr
		case in.IsBool() || in.IsTime():
			err = fmt.Errorf("is %s, which is no number", text)
		case in.IsString() && numberErr == nil:
			err = fmt.Errorf("is the text %.100q: make a number of it with |integer or |float, or print the two one after the other", text)
		case len(text) > commandLimit:
			err = errTooLong
		case in.IsFloat():
			out = pongo2.AsValue(shortest(in.Float()))
		}
	case "<", ">", "<=", ">=":
		if !in.IsTime() {
			out, err = numeric(in)
		}
	default:
		if out, err = numeric(in); err == nil && op == "%" && out.IsFloat() && out.Float() != math.Trunc(out.Float()) {
			err = fmt.Errorf("is %v, which is no whole number", out.Float())
		}
	}
	if err != nil {
		where := "beside " + operator.String()
		if operator.String() == brackets {
			where = "in brackets"
		}
		return nil, &pongo2.Error{Sender: "operator", OrigError: fmt.Errorf("what stands %s %w", where, err)}
	}
	return out, nil
}

// guardItems is the filter of what a loop goes over: a map has its keys in any order, unless they are sorted, and a part
// of something quoted is not quoted.
func guardItems(in, sorted *pongo2.Value) (*pongo2.Value, *pongo2.Error) {
	switch kind := reflect.ValueOf(in.Interface()).Kind(); {
	case kind == reflect.Map && !sorted.Bool():
		return nil, &pongo2.Error{Sender: "for", OrigError: errUnsorted}
	case kind == reflect.String:
		return pongo2.AsValue(in.String()), nil
	}
	return in, nil
}

var errUnsorted = errors.New("write {% for KEY, VALUE in MAP sorted %}, so that the command is the same each time")

// shortest is a number that + prints shortest when it makes text of it. Nothing else sees one: to compare it with an
// ordinary number would tell that they are not the same.
type shortest float64

func (f shortest) String() string { return strconv.FormatFloat(float64(f), 'f', -1, 64) }

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

// edit puts text in place of length bytes of the source.
type edit struct {
	offset, length int
	text           string
}

// check sees that the template uses only the allowed tags, and names that exist, and returns it rewritten.
func (r *rendering) check() (rewritten string, err error) {
	names := map[string][]any{}
	for name, value := range r.names {
		names[name] = []any{value}
	}
	delete(names, renderKey)
	c := &checker{rendering: r, lines: strings.SplitAfter(r.source, "\n"), scopes: []*scope{{names: names}}}
	inComment := false
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
		inside := rest[:end+1] // with the end
		rest = rest[end+1:]
		switch isTag := open.Val == "{%" && end > 0; {
		case inComment:
			inComment = !isTag || inside[0].Val != "endcomment"
			if !inComment && end > 1 { // the engine would look for the end of this for ever
				return "", at(inside[1], "endcomment takes no arguments")
			}
		case isTag:
			inComment = inside[0].Val == "comment"
			err = c.tag(inside[0], inside[1:], rest)
		case open.Val == "{{":
			err = c.output(open, inside)
		}
		if err != nil {
			return "", err
		}
	}
	slices.SortStableFunc(c.edits, func(a, b edit) int { return a.offset - b.offset })
	copied := 0
	for _, e := range c.edits {
		rewritten += r.source[copied:e.offset] + e.text
		copied = e.offset + e.length
	}
	return rewritten + r.source[copied:], nil
}

// output checks a {{ … }} and makes a printTag of it.
func (c *checker) output(open *pongo2.Token, inside []*pongo2.Token) error {
	if err := c.expression(inside); err != nil {
		return err
	}
	shut := inside[len(inside)-1]
	left, right := symbol(open), symbol(shut)
	from, to := c.offset(open), c.offset(shut)
	if !strings.HasPrefix(c.source[from:], left) || !strings.HasPrefix(c.source[to:], right) {
		return at(open, "the template engine has lost its place")
	}
	c.edits = append(c.edits,
		edit{from, len(left), fmt.Sprintf("{%%%s %s %d ", left[2:], printTag, len(c.outputs))},
		edit{to, len(right), right[:len(right)-2] + "%}"})
	c.outputs = append(c.outputs, c.source[from:to+len(right)])
	return nil
}

// offset is where a token begins in the source.
func (c *checker) offset(t *pongo2.Token) int {
	offset := t.Col - 1
	for _, line := range c.lines[:t.Line-1] {
		offset += len(line)
	}
	return offset
}

// symbol is one of {{ {% %} }} as it is written: with the - that trims white space.
func symbol(t *pongo2.Token) string {
	switch {
	case t.TrimWhitespaces && strings.HasPrefix(t.Val, "{"):
		return t.Val + "-"
	case t.TrimWhitespaces:
		return "-" + t.Val
	}
	return t.Val
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

// checker goes through the tokens of a template. Expressions are passed to its methods with the token behind them.
type checker struct {
	*rendering
	lines  []string // of the source
	scopes []*scope // of each open tag, the innermost last
	edits  []edit
}

// scope has the values that each name may have; nil for one made by with or set, whose value only the run knows.
type scope struct {
	tag     string // if, for or with; "" for the template
	names   map[string][]any
	inEach  map[string][]any // of an if: the names that each branch so far has set
	inAny   map[string][]any // and those that any has
	hasElse bool
}

// tag checks one tag and opens, changes or closes a scope; behind is what follows it.
func (c *checker) tag(name *pongo2.Token, arguments, behind []*pongo2.Token) error {
	inner := c.scopes[len(c.scopes)-1]
	within := map[string]string{"elif": "if", "else": "if", "endif": "if", "empty": "for", "endfor": "for", "endwith": "with"}
	if tag, ok := within[name.Val]; ok && tag != inner.tag {
		return at(name, "there is no %s that it could belong to", tag)
	}
	if inner.hasElse && (name.Val == "elif" || name.Val == "else") {
		return at(name, "the if has its else already, and would go by the last")
	}
	switch name.Val {
	case "comment":
		return nil
	case "verbatim":
		return at(name, "write exactly {%% verbatim %%} and {%% endverbatim %%}")
	case "if":
		c.scopes = append(c.scopes, &scope{tag: "if", names: map[string][]any{}, inAny: map[string][]any{}})
		return c.expression(arguments)
	case "elif", "else":
		inner.endBranch()
		inner.hasElse = name.Val == "else"
		return c.expression(arguments)
	case "endif":
		inner.endBranch()
		c.scopes = c.scopes[:len(c.scopes)-1]
		for set := range inner.inAny {
			_, inEach := inner.inEach[set]
			if _, before := c.lookup(set); before || inEach && inner.hasElse {
				c.scopes[len(c.scopes)-1].names[set] = nil
			}
		}
		return nil
	case "for":
		return c.forTag(name, arguments, behind)
	case "empty":
		inner.names = map[string][]any{"forloop": inner.names["forloop"]}
		return nil
	case "with":
		return c.withTag(arguments)
	case "endfor", "endwith":
		c.scopes = c.scopes[:len(c.scopes)-1]
		return nil
	case "set":
		if len(arguments) < 4 {
			return at(name, "write {%% set NAME = VALUE %%}")
		}
		err := c.expression(arguments[2:])
		inner.names[arguments[0].Val] = nil
		return err
	}
	return at(name, "this tag is not allowed; those are: if, for, with, set, comment, verbatim")
}

// endBranch keeps of the names that an if has set those that every branch so far has, and those that any has.
func (s *scope) endBranch() {
	if s.inEach == nil {
		s.inEach = s.names
	}
	maps.DeleteFunc(s.inEach, func(name string, _ []any) bool {
		_, set := s.names[name]
		return !set
	})
	maps.Copy(s.inAny, s.names)
	s.names = map[string][]any{}
}

// withTag checks {% with NAME=VALUE … %} and {% with VALUE as NAME %}.
func (c *checker) withTag(arguments []*pongo2.Token) error {
	scope, last := &scope{tag: "with", names: map[string][]any{}}, len(arguments)-1
	if last > 1 && isKeyword(arguments[last-2], "as") {
		err := c.expression(arguments[:last-1])
		scope.names[arguments[last-1].Val] = nil
		c.scopes = append(c.scopes, scope)
		return err
	}
	for i := 0; i == 0 || i < last; {
		if i+2 > last || !isSymbol(arguments[i+1], "=") {
			return at(arguments[i], "write {%% with NAME=VALUE %%}")
		}
		scope.names[arguments[i].Val] = nil
		value := i + 2
		for i = value; i < last && !isSymbol(arguments[i+1], "="); {
			i++
		}
		if err := c.expression(arguments[value : i+1]); err != nil {
			return err
		}
	}
	c.scopes = append(c.scopes, scope)
	return nil
}

// forTag checks {% for NAME[, NAME] in VALUES [reversed] [sorted] %}. What its names stand for is known where VALUES is a
// plain name, so that their attributes can be checked; names that are set in the loop are unknown from its second round.
func (c *checker) forTag(name *pongo2.Token, arguments, behind []*pongo2.Token) error {
	in := slices.IndexFunc(arguments, func(t *pongo2.Token) bool { return isKeyword(t, "in") })
	if in != 1 && in != 3 || len(arguments) == in+2 {
		return at(name, "write {%% for NAME in LIST %%} or {%% for KEY, VALUE in MAP %%}")
	}
	over, sorted := arguments[in+1:], false
	if isSymbol(over[0], "(") {
		return at(over[0], "name the list of a loop without brackets")
	}
	for _, order := range []string{"sorted", "reversed"} {
		if last := len(over) - 2; last > 0 && over[last].Val == order && over[last].Typ == pongo2.TokenIdentifier &&
			!isSymbol(over[last-1], ".", "|", ":") {
			over, sorted = over[:last+1], sorted || order == "sorted"
		}
	}
	if err := c.expression(over); err != nil {
		return err
	}
	var first, second []any
	values, length, pathErr := c.path(over)
	if literal(over) > 0 || pathErr != nil || length != len(over)-1 {
		values = nil
	}
	c.edits = append(c.edits, edit{c.offset(over[len(over)-1]), 0, fmt.Sprintf("|%s:%t ", itemsGuard, sorted)})
	if values != nil {
		first, second = []any{}, []any{}
		for _, value := range values {
			switch v := value.(type) {
			case []any:
				first, second = append(first, v...), nil
			case map[string]any:
				if !sorted { // the engine would take its keys in any order
					return at(over[0], "%w", errUnsorted)
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
	names := map[string][]any{}
	for depth := 1; depth > 0 && len(behind) > 2; behind = behind[1:] {
		switch tag := behind[1].Val; {
		case !isSymbol(behind[0], "{%"):
		case tag == "for":
			depth++
		case tag == "endfor":
			depth--
		case tag == "set":
			if _, before := c.lookup(behind[2].Val); before {
				names[behind[2].Val] = nil
			}
		}
	}
	names["forloop"], names[arguments[0].Val] = []any{loop}, first
	if in == 3 {
		if second == nil { // the engine would leave the second name empty
			return at(arguments[2], "a second name takes a map, named directly")
		}
		names[arguments[2].Val] = second
	}
	c.scopes = append(c.scopes, &scope{tag: "for", names: names})
	shut := arguments[len(arguments)-1]
	c.edits = append(c.edits, edit{c.offset(shut) + len(symbol(shut)), 0, "{% " + roundTag + " " + symbol(shut)})
	return nil
}

// expression checks every name in an expression, and guards its filters and what stands beside its operators.
func (c *checker) expression(tokens []*pongo2.Token) error {
	if err := ambiguous(tokens); err != nil {
		return err
	}
	last, operator, inBrackets := len(tokens)-1, "", 0 // inBrackets: where brackets end of which arithmetic makes something
	for i, hasLeft := 0, false; i < last; {
		t := tokens[i]
		switch {
		case literal(tokens[i:]) > 0 || t.Typ == pongo2.TokenIdentifier:
			length, err := c.operand(tokens[i:])
			if err != nil {
				return err
			}
			beside := []string{operator, binaryOperator(tokens[i+length])}
			if i < inBrackets {
				beside = append(beside, brackets)
			}
			if name := formatted(tokens[i : i+length]); name != "" && beside[0]+beside[1] != "" {
				return at(t, "|%s would be for this alone, not for what is reckoned: write {%% with n=… %%}{{ n|%s }}{%% endwith %%}", name, name)
			}
			i, hasLeft, operator = i+length, true, ""
			for _, operator := range beside {
				if operator != "" {
					c.edits = append(c.edits, edit{c.offset(tokens[i]), 0, fmt.Sprintf("|%s:%q ", operandGuard, operator)})
				}
			}
			continue
		case isSymbol(t, "|"):
			return at(t, "a filter follows a name, not a bracket: write {%% with n=… %%}{{ n|filter }}{%% endwith %%}")
		case isSymbol(t, "("):
			end := closing(tokens, i)
			if reckons(operator) || reckons(binaryOperator(tokens[min(end+1, last)])) {
				inBrackets = max(inBrackets, end)
			}
			operator = ""
		case hasLeft:
			operator = binaryOperator(t)
		}
		hasLeft = isSymbol(t, ")")
		i++
	}
	return nil
}

// ambiguous refuses what the engine reads in another way than people do: not a > b, and a and b or c.
func ambiguous(tokens []*pongo2.Token) error {
	type level struct{ not, and, or, reckons, equals bool }
	levels := []level{{}}
	for _, t := range tokens[:len(tokens)-1] {
		l := &levels[len(levels)-1]
		switch {
		case isSymbol(t, "("):
			levels = append(levels, level{})
		case isSymbol(t, ")") && len(levels) > 1:
			levels[len(levels)-2].reckons = levels[len(levels)-2].reckons || l.reckons
			levels = levels[:len(levels)-1]
		case isKeyword(t, "not") || isSymbol(t, "!"):
			l.not = true
		case isKeyword(t, "and") || isSymbol(t, "&&"):
			*l = level{and: true, or: l.or}
		case isKeyword(t, "or") || isSymbol(t, "||"):
			*l = level{and: l.and, or: true}
		case l.not && (isKeyword(t, "in") || isSymbol(t, "==", "!=", "<>", "<", ">", "<=", ">=")):
			return at(t, "would be of what is not, by itself: write not (…)")
		case isSymbol(t, "+", "-", "*", "/", "^"):
			l.reckons = true
		case isSymbol(t, "==", "!=", "<>"):
			l.equals = true
		}
		if l = &levels[len(levels)-1]; l.and && l.or {
			return at(t, "and beside or goes by neither's rule: put brackets around one")
		} else if l.reckons && l.equals {
			return at(t, "3 and 3.0 would not be the same where one is reckoned: write {%% with n=… %%} and compare n")
		}
	}
	return nil
}

// closing returns where the bracket that opens at i is closed, or the end.
func closing(tokens []*pongo2.Token, i int) int {
	for depth := 0; i < len(tokens)-1; i++ {
		if isSymbol(tokens[i], "(") {
			depth++
		} else if isSymbol(tokens[i], ")") {
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return len(tokens) - 1
}

// formatted returns which filter makes a text of a number in an operand, "" if none.
func formatted(operand []*pongo2.Token) string {
	for i, t := range operand[1:] {
		if isSymbol(operand[i], "|") && (t.Val == "floatformat" || t.Val == "stringformat") {
			return t.Val
		}
	}
	return ""
}

// binaryOperator returns the operator that a token behind an operand is, "" if none.
func binaryOperator(t *pongo2.Token) string {
	if isSymbol(t, "+", "-", "*", "/", "%", "^", "==", "!=", "<>", "<", ">", "<=", ">=") {
		return t.Val
	}
	return ""
}

// reckons tells whether a binary operator makes a number of numbers.
func reckons(operator string) bool {
	return operator != "" && strings.Contains("+-*/%^", operator)
}

// operand checks a name or literal with its filters, and returns of how many tokens it is. A name need not exist where
// |default follows at once.
func (c *checker) operand(tokens []*pongo2.Token) (length int, err error) {
	if length = literal(tokens); length == 0 {
		_, length, err = c.path(tokens)
	}
	if length > 0 && isFilter(tokens[length:], "default", "default_if_none") {
		err = nil
	}
	for err == nil && isFilter(tokens[length:]) {
		filter := tokens[length+1]
		if strings.HasPrefix(filter.Val, prefix) {
			return 0, at(filter, "there is no filter %s", filter.Val)
		}
		if _, guarded := filters[filter.Val]; guarded {
			c.edits = append(c.edits, edit{c.offset(filter), 0, prefix})
		}
		length += 2
		if argument := tokens[length:]; len(argument) > 2 && isSymbol(argument[0], ":") {
			read := literal(argument[1:])
			if read == 0 && argument[1].Typ == pongo2.TokenIdentifier {
				_, read, err = c.path(argument[1:])
			}
			length += 1 + max(read, 1)
		}
	}
	return length, err
}

// literal returns of how many tokens the literal is with which tokens begin, 0 if with none: 1.5 is three.
func literal(tokens []*pongo2.Token) int {
	switch t := tokens[0]; {
	case len(tokens) > 3 && t.Typ == pongo2.TokenNumber && isSymbol(tokens[1], ".") && tokens[2].Typ == pongo2.TokenNumber:
		return 3
	case t.Typ == pongo2.TokenNumber, t.Typ == pongo2.TokenString, isKeyword(t, "true"), isKeyword(t, "false"):
		return 1
	}
	return 0
}

// isFilter tells whether the tokens begin with a filter, of one of these names if there are any.
func isFilter(tokens []*pongo2.Token, names ...string) bool {
	return len(tokens) > 2 && isSymbol(tokens[0], "|") && tokens[1].Typ == pongo2.TokenIdentifier &&
		(len(names) == 0 || slices.Contains(names, tokens[1].Val))
}

// lookup returns the values that a name may have, nil where only the run knows.
func (c *checker) lookup(name string) (values []any, found bool) {
	for _, s := range slices.Backward(c.scopes) {
		if values, found = s.names[name]; found {
			return values, true
		}
	}
	return nil, false
}

// path follows a name and its attributes from the first token on. It returns the values that this may be, nil where
// only the run knows, and of how many tokens it is, also where it does not exist.
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
