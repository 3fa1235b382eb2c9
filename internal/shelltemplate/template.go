// Package shelltemplate makes one shell command of a template and the values that its names stand for. pongo2 splits
// the template into tokens; interpreter walks them once, allows what the grammar in docs/autoscaling.md allows, and
// writes the command; checkPlaces sees that each value stands where the shell takes it as it is meant.
//
// pongo2 does not evaluate: it reads `a or b`, `a < b < c` and sums beyond 64 bits in ways that nobody expects who
// knows Jinja2, which is what the pools' commands were written for.
package shelltemplate

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/flosch/pongo2/v6"
)

// What a template may take: counts and not times, so that a slow machine refuses nothing that a fast one accepts.
const (
	sourceLimit  = 16 << 10
	commandLimit = 128<<10 - 1 // the longest argument that Linux takes, less the closing NUL (MAX_ARG_STRLEN)
	tokenLimit   = 4_000
	nestingLimit = 20      // tags inside each other
	filterLimit  = 10      // behind one value
	roundLimit   = 10_000  // of all loops together
	stepLimit    = 200_000 // tokens read, in every round again, and 32 bytes of text or one element of a list
	wordLimit    = 10_000  // of a command with values that are texts
)

// Command is what a template renders to.
type Command struct {
	Line  string
	Names []string // among the values, those that the template uses in any branch, sorted: "size", "variables.region"
}

// Render makes the command. Values are nil, bool, int64, float64, string, time.Time, []any and map[string]any;
// environment has, by a value's name, the environment variable that holds the same. An error is one sentence about the
// template, with the position where it has one, and the cure.
func Render(template string, values map[string]any, environment map[string]string) (c Command, err error) {
	defer func() {
		if reason := recover(); reason != nil { // of a library's
			c, err = Command{}, fmt.Errorf("it cannot be read (%v): call a script instead", reason)
		}
	}()
	source := strings.ReplaceAll(template, "\r\n", "\n")
	if err := cmp.Or(printable(source), limit(len(source), sourceLimit, "it is longer than %d bytes")); err != nil {
		return Command{}, err
	}
	p := &interpreter{lines: strings.SplitAfter(source, "\n"), live: true, values: values, locals: map[string]any{},
		used: map[string]bool{}, environment: environment}
	if p.tokens, err = lex(source); err != nil {
		return Command{}, err
	}
	p.block("", 0)
	line := p.command.String()
	if p.err != nil {
		return Command{}, p.err
	} else if err := printable(line); err != nil {
		return Command{}, fmt.Errorf("what it renders to cannot be run: %w", err)
	} else if strings.TrimSpace(line) == "" {
		return Command{}, errors.New("nothing to run: it renders to nothing but white space")
	}
	if err := checkPlaces(line, p.places); err != nil {
		return Command{}, err
	}
	return Command{line, slices.Sorted(maps.Keys(p.used))}, nil
}

// limit returns the error of more than a template may take.
func limit(n, most int, sentence string) error {
	if n <= most {
		return nil
	}
	return fmt.Errorf(sentence+": call a script instead", most)
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

// pongo2 shows its tokens to tags only: this one takes all that follow it.
const lexTag, tokensKey = "shelltemplate", "tokens"

type tokenList []*pongo2.Token

func takeTokens(doc *pongo2.Parser, _ *pongo2.Token, _ *pongo2.Parser) (pongo2.INodeTag, *pongo2.Error) {
	var tokens tokenList
	for ; doc.Remaining() > 0; doc.Consume() {
		tokens = append(tokens, doc.Current())
	}
	return tokens, nil
}

func (l tokenList) Execute(ctx *pongo2.ExecutionContext, _ pongo2.TemplateWriter) *pongo2.Error {
	*ctx.Public[tokensKey].(*tokenList) = l
	return nil
}

var (
	register = sync.OnceValue(func() error { return pongo2.RegisterTag(lexTag, takeTokens) })
	noFiles  = pongo2.NewFSLoader(embed.FS{})
)

// apart tells whether what stands before a tag or text is a comment's end or verbatim's, which trimming does not pass.
func apart(before string) bool {
	return strings.HasSuffix(before, "#}") || strings.HasSuffix(before, "verbatim %}")
}

// lex returns the tokens of the source, trimmed as {{- and -}} say, with one of type EOF at their end.
func lex(source string) (tokens tokenList, err error) {
	if err := register(); err != nil {
		return nil, err
	}
	template, err := pongo2.NewSet("", noFiles).FromString("{% " + lexTag + " %}\n" + source)
	if err == nil {
		_, err = template.Execute(pongo2.Context{tokensKey: &tokens})
	}
	if lexical, ok := errors.AsType[*pongo2.Error](err); ok {
		return nil, fmt.Errorf("line %d column %d: %w; %s", lexical.Line-1, lexical.Column, lexical.OrigError,
			cure("text", "verbatim"))
	} else if err := cmp.Or(err, limit(len(tokens), tokenLimit, "it has more than %d words and symbols")); err != nil {
		return nil, err
	}
	tokens[0].Val = tokens[0].Val[1:] // the newline behind lexTag
	tokens = append(tokens, &pongo2.Token{Typ: pongo2.EOF, Val: "the end", Line: tokens[len(tokens)-1].Line})
	trimmers := func(text string) int { return strings.Count(text, "{#-") + strings.Count(text, "-#}") }
	trimming, lines := trimmers(source), strings.SplitAfter(source, "\n")
	trims := func(tag, behind *pongo2.Token) bool { // not across a comment or an end of verbatim, which are no tokens
		return tag.TrimWhitespaces && !apart(lines[behind.Line-1][:behind.Col-1])
	}
	for i, t := range tokens {
		t.Line-- // the line of lexTag
		trimming -= trimmers(t.Val)
		if i > 0 && t.Typ == pongo2.TokenHTML && trims(tokens[i-1], t) {
			t.Val = strings.TrimLeft(t.Val, " \n\t")
		}
		if i > 0 && tokens[i-1].Typ == pongo2.TokenHTML && trims(t, t) {
			tokens[i-1].Val = strings.TrimRight(tokens[i-1].Val, " \n\t")
		}
	}
	if trimming > 0 { // in a comment, of which there is no token
		return nil, errors.New("{#- … -#} would not trim: write {# … #}, or {%- comment -%}…{%- endcomment -%}")
	}
	return tokens, nil
}
