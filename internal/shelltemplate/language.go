package shelltemplate

import (
	"cmp"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/flosch/pongo2/v6"
)

// language.go owns the grammar and its meaning. Each method of interpreter reads one part of it and returns its value.
// The first error is kept and ends the reading, since every later token is then the end.

type interpreter struct {
	lines   []string // of the source, with their ends
	tokens  tokenList
	at      int  // of the next token
	live    bool // false in a branch that is not taken, where names are looked up, and nothing is computed or written
	scope   *scope
	used    map[string]bool // Command.Names
	command strings.Builder
	places  []place // of the values in command
	rounds  int
	steps   int
	err     error
}

type scope struct {
	names map[string]any
	outer *scope
}

type (
	unknown struct{}            // the value of what was not computed
	missing struct{ err error } // the value of a name that does not exist
)

//go:embed cures.txt
var cures string

// cure says what to write instead of something that people know from Jinja2 or pongo2, "" where nothing is written down.
func cure(kind, word string) string {
	for line := range strings.Lines(cures) {
		if sentence, found := strings.CutPrefix(line, kind+"\t"+word+"\t"); found {
			return strings.TrimSpace(sentence)
		}
	}
	return ""
}

// problem is an error at a token.
func problem(t *pongo2.Token, format string, args ...any) error {
	near, _, _ := strings.Cut(t.Val, "\n")
	return fmt.Errorf("line %d column %d near %.30q: %w", t.Line, max(t.Col, 1), near, fmt.Errorf(format, args...))
}

func (p *interpreter) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

func (p *interpreter) failAt(t *pongo2.Token, format string, args ...any) any {
	p.fail(problem(t, format, args...))
	return unknown{}
}

// unexpected is the error of a token that may not stand where it does.
func (p *interpreter) unexpected(t *pongo2.Token, expected string) any {
	sentence := ""
	switch t.Typ {
	case pongo2.TokenHTML: // the lexer ends a tag at a character that begins no token
		sentence = cmp.Or(cure("symbol", t.Val[:1]), "it is not closed, or has a character that means nothing there; "+cure("text", "verbatim"))
	case pongo2.TokenSymbol:
		sentence = cure("symbol", t.Val)
	case pongo2.TokenKeyword, pongo2.TokenIdentifier:
		sentence = cure("word", t.Val)
	}
	return p.failAt(t, "%s", cmp.Or(sentence, expected+" is expected here, or it is not closed"))
}

// computes tells whether values are computed and written: not in a branch that is not taken, and not after an error.
func (p *interpreter) computes() bool { return p.live && p.err == nil }

// current is the next token, which is not taken.
func (p *interpreter) current() *pongo2.Token {
	if p.err != nil {
		return p.tokens[len(p.tokens)-1]
	}
	return p.tokens[p.at]
}

func (p *interpreter) next() *pongo2.Token {
	t := p.current()
	if p.spend(1); t.Typ != pongo2.EOF {
		p.at++
	}
	return t
}

func (p *interpreter) spend(steps int) {
	if p.steps += steps; p.steps > stepLimit {
		p.fail(fmt.Errorf("it takes more than %d steps: call a script instead", stepLimit))
	}
}

// peek tells whether the next token has that type and one of these texts.
func (p *interpreter) peek(kind pongo2.TokenType, texts ...string) bool {
	return p.current().Typ == kind && slices.Contains(texts, p.current().Val)
}

// accept takes the next token if it has that type and one of these texts.
func (p *interpreter) accept(kind pongo2.TokenType, texts ...string) bool {
	found := p.peek(kind, texts...)
	if found {
		p.next()
	}
	return found
}

func (p *interpreter) expect(kind pongo2.TokenType, text string) *pongo2.Token {
	t := p.current()
	if !p.accept(kind, text) {
		p.unexpected(t, text)
	}
	return t
}

// ends are the tags that may follow what is inside another; the last one closes it.
var ends = map[string][]string{"if": {"elif", "else", "endif"}, "else": {"endif"}, "for": {"empty", "endfor"}, "empty": {"endfor"},
	"with": {"endwith"}}

// block reads up to one of the ends of the tag that it is inside of, "" for none, and returns that end's name.
func (p *interpreter) block(tag string, depth int) (end string) {
	for depth <= nestingLimit {
		switch t := p.next(); {
		case t.Typ == pongo2.EOF:
			if tag != "" {
				p.failAt(t, "{%% %s %%} is missing", ends[tag][len(ends[tag])-1])
			}
			return ""
		case t.Typ == pongo2.TokenHTML:
			p.write(t.Val)
		case t.Val == "{{":
			value := p.sum()
			shut := p.expect(pongo2.TokenSymbol, "}}")
			p.print(value, t, shut)
		case t.Val == "{%":
			name := p.next()
			if !slices.Contains(ends[tag], name.Val) {
				p.tag(name, depth+1)
				continue
			}
			if name.Val != "elif" {
				p.expect(pongo2.TokenSymbol, "%}")
			}
			return name.Val
		default:
			p.unexpected(t, "text")
		}
	}
	p.fail(fmt.Errorf("more than %d tags are inside each other: call a script instead", nestingLimit))
	return ""
}

func (p *interpreter) tag(name *pongo2.Token, depth int) {
	switch name.Val {
	case "if":
		p.ifTag(depth)
	case "for":
		p.forTag(name, depth)
	case "with":
		p.withTag(depth)
	case "comment":
		p.expect(pongo2.TokenSymbol, "%}")
		for ; !p.peek(pongo2.EOF, "the end"); p.next() {
			if p.accept(pongo2.TokenSymbol, "{%") && p.accept(pongo2.TokenIdentifier, "endcomment") {
				p.expect(pongo2.TokenSymbol, "%}")
				return
			}
		}
		p.failAt(name, "{%% endcomment %%} is missing")
	case "elif", "else", "endif", "empty", "endfor", "endwith":
		p.failAt(name, "there is no %s that it could belong to; a loop without elements is {%% empty %%}",
			map[bool]string{true: "if", false: "loop or with"}[strings.HasPrefix(name.Val, "el") || name.Val == "endif"])
	default:
		p.failAt(name, "this tag is not allowed; those are: if, for, with, comment, verbatim: %s", cmp.Or(cure("tag", name.Val), cure("text", "verbatim")))
	}
}

func (p *interpreter) ifTag(depth int) {
	live, taken := p.live, false
	for end := "elif"; end == "elif" || end == "else"; {
		holds, tag := true, "else"
		p.live = live && !taken
		if end == "elif" {
			holds, tag = p.condition(), "if"
			p.expect(pongo2.TokenSymbol, "%}")
		}
		p.live = live && holds && !taken
		taken = taken || holds
		end = p.block(tag, depth)
	}
	p.live = live
}

// forTag reads {% for NAME[, NAME] in VALUE [sorted] [reversed] %} … {% empty %} … {% endfor %}, its body once for each
// element, or once without being live.
func (p *interpreter) forTag(tag *pongo2.Token, depth int) {
	names := []string{p.name()}
	if p.accept(pongo2.TokenSymbol, ",") {
		names = append(names, p.name())
	}
	p.expect(pongo2.TokenKeyword, "in")
	over, order := p.operand(false), map[string]bool{}
	for p.peek(pongo2.TokenIdentifier, "sorted", "reversed") {
		order[p.next().Val] = true
	}
	p.expect(pongo2.TokenSymbol, "%}")
	if p.spend(pongo2.AsValue(over).Len()); p.err != nil {
		return
	}
	rounds, err := roundsOf(over, len(names) == 2, order["sorted"])
	if err != nil && p.computes() {
		p.failAt(tag, "%w", err)
	}
	if order["reversed"] {
		slices.Reverse(rounds)
	}
	live, outer, body, end := p.live, p.scope, p.at, ""
	p.live = live && len(rounds) > 0
	for i := 0; i < max(len(rounds), 1) && p.err == nil; i++ {
		if p.rounds++; p.rounds > roundLimit {
			p.fail(fmt.Errorf("its loops go round more than %d times: call a script instead", roundLimit))
		}
		last := int64(len(rounds) - 1 - i)
		loop := loopState{"Counter": int64(i + 1), "Counter0": int64(i), "Revcounter": last + 1, "Revcounter0": last, "First": i == 0, "Last": last == 0}
		if parent, inside, _ := outer.lookup("forloop"); inside {
			loop["Parentloop"] = parent
		}
		p.scope = &scope{map[string]any{"forloop": loop}, outer}
		for j, name := range names {
			p.scope.names[name] = unknown{}
			if len(rounds) > 0 {
				p.scope.names[name] = rounds[i][j]
			}
		}
		p.at = body
		end = p.block("for", depth)
	}
	p.scope = outer
	if end == "empty" {
		p.live = live && len(rounds) == 0
		p.block("empty", depth)
	}
	p.live = live
}

func (p *interpreter) name() string {
	t := p.next()
	if t.Typ != pongo2.TokenIdentifier {
		p.failAt(t, "a name is expected here: {%% for NAME in LIST %%}, {%% for KEY, VALUE in MAP sorted %%} or {%% with NAME=VALUE %%}")
	}
	return t.Val
}

// withTag reads {% with NAME=VALUE NAME=VALUE %} … {% endwith %}, with or without Jinja2's commas.
func (p *interpreter) withTag(depth int) {
	inner := &scope{map[string]any{}, p.scope}
	for first := true; first || !p.accept(pongo2.TokenSymbol, "%}") && p.err == nil; first = false {
		if !first {
			p.accept(pongo2.TokenSymbol, ",")
		}
		name := p.name()
		if t := p.current(); !p.accept(pongo2.TokenSymbol, "=") {
			p.unexpected(t, "=")
		}
		inner.names[name] = p.sum()
		if marked, isSafe := inner.names[name].(safe); isSafe { // it says so where it is printed, or not at all
			inner.names[name] = string(marked)
		}
	}
	p.scope = inner
	p.block("with", depth)
	p.scope = inner.outer
}

// condition reads clauses joined by and or by or. As in Jinja2 those that decide nothing any more are not computed.
func (p *interpreter) condition() bool {
	holds, joint := p.clause(), ""
	for p.peek(pongo2.TokenKeyword, "and", "or") {
		t, live := p.next(), p.live
		if joint != "" && joint != t.Val {
			p.failAt(t, "and beside or: put one {%% if %%} inside the other")
		}
		joint = t.Val
		p.live = live && holds == (joint == "and")
		if clause := p.clause(); p.computes() {
			holds = clause
		}
		p.live = live
	}
	return holds
}

// clause reads a value, or a comparison of two.
func (p *interpreter) clause() bool {
	not := p.accept(pongo2.TokenKeyword, "not")
	x, t := p.operand(true), p.current()
	if p.accept(pongo2.TokenKeyword, "not") {
		if not, t = !not, p.current(); t.Val != "in" {
			p.unexpected(t, "in")
		}
	}
	if !p.accept(pongo2.TokenSymbol, "==", "!=", "<", "<=", ">", ">=") && !p.accept(pongo2.TokenKeyword, "in") {
		return p.computes() && pongo2.AsValue(x).IsTrue() != not // as in Jinja2: not empty, not zero, not NULL
	}
	y := p.operand(true)
	if p.peek(pongo2.TokenKeyword, "not") {
		p.unexpected(p.current(), "%}")
	}
	if !p.computes() {
		return false
	}
	holds, err := compare(x, t.Val, y)
	if err != nil {
		p.failAt(t, "%w", err)
	}
	return holds != not
}

// sum reads products joined by + and -.
func (p *interpreter) sum() any { return p.joined(p.product, "+", "-") }

// product reads values joined by *.
func (p *interpreter) product() any {
	return p.joined(func() any {
		if !p.peek(pongo2.TokenSymbol, "-") {
			return p.operand(false)
		}
		return p.compute(int64(0), p.next(), p.operand(false))
	}, "*")
}

func (p *interpreter) joined(part func() any, operators ...string) any {
	value := part()
	for p.peek(pongo2.TokenSymbol, operators...) {
		value = p.compute(value, p.next(), part())
	}
	return value
}

func (p *interpreter) compute(x any, operator *pongo2.Token, y any) any {
	if !p.computes() {
		return unknown{}
	}
	value, err := compute(x, operator.Val, y)
	if err != nil {
		return p.failAt(operator, "%w", err)
	}
	return value
}

// operand reads a value with its filters.
func (p *interpreter) operand(decimals bool) any {
	value := p.atom(decimals)
	for n := 1; p.accept(pongo2.TokenSymbol, "|"); n++ {
		t := p.next()
		f, exists := filters[t.Val]
		argument, has := any(nil), false
		switch {
		case !exists:
			p.failAt(t, "there is no filter %s: %s", t.Val, cmp.Or(cure("filter", t.Val), "those are "+strings.Join(slices.Sorted(maps.Keys(filters)), ", ")))
		case n > filterLimit:
			p.failAt(t, "more than %d filters stand behind each other: call a script instead", filterLimit)
		case p.peek(pongo2.TokenSymbol, "("):
			p.failAt(t, `a filter's argument stands behind a colon: write %s:"…"`, t.Val)
		case p.accept(pongo2.TokenSymbol, ":"):
			argument, has = p.atom(true), true
		}
		if none, isMissing := argument.(missing); isMissing {
			p.fail(none.err)
		} else if has != f.argument {
			p.failAt(t, map[bool]string{true: "an argument is missing: write %s:…", false: "%s takes no argument"}[f.argument], t.Val)
		}
		if none, isMissing := value.(missing); isMissing {
			if value = nil; !f.replacesMissing {
				p.fail(none.err)
			}
		}
		if !p.computes() {
			value = unknown{}
			continue
		}
		p.spend(cost(value) + cost(argument))
		var err error
		if value, err = f.apply(value, argument); err != nil {
			p.failAt(t, "%s: %w", t.Val, err)
		}
	}
	if none, isMissing := value.(missing); isMissing {
		p.fail(none.err)
	}
	if p.spend(cost(value)); p.err != nil {
		return unknown{}
	}
	return value
}

// atom reads a name or a literal. Only where decimals are allowed may a number have them, or a minus.
func (p *interpreter) atom(decimals bool) (value any) {
	minus := ""
	if decimals && p.accept(pongo2.TokenSymbol, "-") {
		minus = "-"
	}
	switch t := p.next(); {
	case t.Typ == pongo2.TokenNumber && len(t.Val) > 1 && t.Val[0] == '0':
		p.failAt(t, "a number does not begin with 0")
	case t.Typ == pongo2.TokenNumber && p.accept(pongo2.TokenSymbol, "."): // the lexer makes three tokens of 1.5
		fraction, err := strconv.ParseFloat(minus+t.Val+"."+p.next().Val, 64)
		if value = fraction; err != nil || !decimals {
			p.failAt(t, "only whole numbers are computed with here: use the pool's multiplier, or $(( … )) in the shell")
		}
	case t.Typ == pongo2.TokenNumber:
		whole, err := strconv.ParseInt(minus+t.Val, 10, 64)
		if value = whole; err != nil {
			p.failAt(t, "it is beyond 64 bits")
		}
	case minus != "":
		p.unexpected(t, "a number")
	case t.Typ == pongo2.TokenString:
		value = t.Val
	case t.Typ == pongo2.TokenKeyword && (t.Val == "true" || t.Val == "false"):
		value = t.Val == "true"
	case t.Typ == pongo2.TokenIdentifier:
		return p.path(t)
	default:
		p.unexpected(t, "a value")
	}
	return value
}

// path reads the attributes of a name, and looks them up.
func (p *interpreter) path(t *pongo2.Token) any {
	path := t.Val
	value, found, given := p.scope.lookup(t.Val)
	var none error
	if !found {
		none = problem(t, "there is no such name (there are %s); %s", strings.Join(p.scope.outermost(), ", "), cmp.Or(cure("name", t.Val), cure("text", "default")))
	}
	for p.peek(pongo2.TokenSymbol, ".", "[") {
		bracket := p.next().Val == "["
		t = p.next()
		if bracket && (t.Typ != pongo2.TokenString && t.Typ != pongo2.TokenNumber || !p.accept(pongo2.TokenSymbol, "]")) {
			p.failAt(t, "only one text or number may stand in brackets")
		} else if !bracket && t.Typ != pongo2.TokenIdentifier && t.Typ != pongo2.TokenKeyword && t.Typ != pongo2.TokenNumber {
			p.failAt(t, "the name of an attribute is expected here; %s", cure("text", "verbatim"))
		}
		path += "." + t.Val
		if value, found = member(value, t.Val, t.Typ == pongo2.TokenNumber); !found && none == nil {
			none = problem(t, "there is no such attribute or element; %s", cure("text", "default"))
		}
	}
	switch {
	case p.peek(pongo2.TokenSymbol, "("):
		p.failAt(t, "there are no functions: %s", cmp.Or(cure("function", t.Val), cure("symbol", "(")))
	case none != nil:
		return missing{none}
	case given:
		p.used[path] = true
	}
	switch v := value.(type) {
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case string:
		if !utf8.ValidString(v) {
			return p.failAt(t, "its value is not valid UTF-8")
		}
	}
	return value
}

// lookup returns what a name stands for; given says that it is one of Render's values.
func (s *scope) lookup(name string) (value any, found, given bool) {
	for ; s != nil && !found; s = s.outer {
		value, found = s.names[name]
		given = s.outer == nil
	}
	return value, found, given
}

func (s *scope) outermost() []string {
	for s.outer != nil {
		s = s.outer
	}
	return slices.Sorted(maps.Keys(s.names))
}

// print writes the value of an output that stands from open to shut.
func (p *interpreter) print(value any, open, shut *pongo2.Token) {
	if !p.computes() {
		return
	}
	line := p.lines[open.Line-1]
	source := line[open.Col-1 : min(shut.Col+1, len(line))]
	word, kind, err := printed(value)
	if err != nil {
		p.failAt(open, "%s %w", source, err)
		return
	}
	at := place{from: p.command.Len(), kind: kind, source: source, value: word}
	if kind == refused { // what is wrong with it, and the cure, depends on where it stands
		word = "x"
	}
	p.write(word)
	at.to = p.command.Len()
	if kind != asWritten {
		p.places = append(p.places, at)
	}
}

func (p *interpreter) write(text string) {
	if text = strings.ReplaceAll(text, "\r\n", "\n"); p.command.Len()+len(text) > commandLimit {
		p.fail(fmt.Errorf("it makes the command longer than %d bytes: call a script instead", commandLimit))
	} else if p.computes() {
		p.command.WriteString(text)
	}
}
