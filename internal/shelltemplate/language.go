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
	at      int             // of the next token
	live    bool            // false in a branch that is not taken, where names are looked up, and nothing else happens
	values  map[string]any  // Render's
	locals  map[string]any  // of the tags around; they hide values
	used    map[string]bool // Command.Names
	command strings.Builder
	places  []place // of the values in command
	rounds  int
	steps   int
	err     error

	environment map[string]string // Render's
}

// unknown is the value of what was not computed. The value of a name that does not exist is the error that says so.
type unknown struct{}

//go:embed cures.txt
var cures string

// cure returns a sentence of cures.txt: what to write instead of something that people know from Jinja2 or pongo2, or
// why a value may not stand where it does. It returns "" where nothing is written down.
func cure(kind, word string) string {
	for line := range strings.Lines(cures) {
		column := strings.Split(strings.TrimSpace(line), "\t")
		if column[0] == kind && slices.Contains(strings.Fields(column[1]), word) {
			return column[2]
		}
	}
	return ""
}

// problem is an error at a token.
func problem(t *pongo2.Token, format string, args ...any) error {
	near, _, _ := strings.Cut(t.Val, "\n")
	return fmt.Errorf("line %d column %d near %.30q: %w", t.Line, max(t.Col, 1), near, fmt.Errorf(format, args...))
}

// fail keeps the first error.
func (p *interpreter) fail(err error) { p.err = cmp.Or(p.err, err) }

func (p *interpreter) failAt(t *pongo2.Token, format string, args ...any) {
	p.fail(problem(t, format, args...))
}

// check fails at the token if there is an error.
func (p *interpreter) check(t *pongo2.Token, err error) {
	if err != nil {
		p.failAt(t, "%w", err)
	}
}

// unexpected is the error of a token that may not stand where it does.
func (p *interpreter) unexpected(t *pongo2.Token, expected string) {
	word, sentence := t.Val, expected+" is expected here, or it is not closed"
	switch t.Typ {
	case pongo2.TokenHTML: // the lexer ends a tag at a character that begins no token
		word, sentence = t.Val[:1], cure("text", "unclosed")
	case pongo2.TokenString:
		word = ""
	}
	p.failAt(t, "%s", cmp.Or(cure("token", word), sentence))
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
	p.steps += steps
	p.fail(limit(p.steps, stepLimit, "it takes more than %d steps"))
}

// peek tells whether the next token is one of these symbols and words.
func (p *interpreter) peek(words ...string) bool {
	t := p.current()
	return t.Typ != pongo2.TokenHTML && t.Typ != pongo2.TokenString && slices.Contains(words, t.Val)
}

// accept takes the next token if it is one of these symbols and words.
func (p *interpreter) accept(words ...string) bool {
	found := p.peek(words...)
	if found {
		p.next()
	}
	return found
}

// expect takes the next token, which has to be this symbol or word.
func (p *interpreter) expect(word string) *pongo2.Token {
	t := p.current()
	if !p.accept(word) {
		p.unexpected(t, word)
	}
	return t
}

// ends are the tags that may follow what is inside another; the last one closes it.
var ends = map[string][]string{"if": {"elif", "else", "endif"}, "else": {"endif"}, "for": {"empty", "endfor"},
	"empty": {"endfor"}, "with": {"endwith"}}

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
			shut := p.expect("}}")
			p.print(value, t, shut)
		default: // {%
			name := p.next()
			if !slices.Contains(ends[tag], name.Val) {
				p.tag(name, depth+1)
				continue
			}
			if name.Val != "elif" {
				p.expect("%}")
			}
			return name.Val
		}
	}
	p.fail(limit(depth, nestingLimit, "more than %d tags are inside each other"))
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
		p.expect("%}")
		for ; p.current().Typ != pongo2.EOF; p.next() {
			if p.accept("{%") && p.accept("endcomment") {
				p.expect("%}")
				return
			}
		}
		p.failAt(name, "{%% endcomment %%} is missing")
	case "elif", "else", "endif", "empty", "endfor", "endwith":
		opening := "loop or with"
		if slices.Contains(ends["if"], name.Val) {
			opening = "if"
		}
		p.failAt(name, "there is no %s that it could belong to; a loop without elements is {%% empty %%}", opening)
	default:
		p.failAt(name, "this tag is not allowed; those are: if, for, with, comment, verbatim: %s",
			cmp.Or(cure("tag", name.Val), cure("text", "verbatim")))
	}
}

func (p *interpreter) ifTag(depth int) {
	live, taken := p.live, false
	for end := "elif"; end == "elif" || end == "else"; {
		holds, tag := true, "else"
		p.live = live && !taken
		if end == "elif" {
			holds, tag = p.condition(), "if"
			p.expect("%}")
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
	if p.accept(",") {
		names = append(names, p.name())
	}
	p.expect("in")
	over, order := p.operand(false), map[string]bool{}
	for p.peek("sorted", "reversed") {
		order[p.next().Val] = true
	}
	p.expect("%}")
	const tooMany = "its loops go round more than %d times"
	if p.fail(limit(pongo2.AsValue(over).Len(), roundLimit, tooMany)); p.err != nil {
		return
	}
	rounds, err := roundsOf(over, len(names) == 2, order["sorted"])
	if p.computes() {
		p.check(tag, err)
	}
	if order["reversed"] {
		slices.Reverse(rounds)
	}
	live, outer, body, end := p.live, p.locals, p.at, ""
	isEmpty := len(rounds) == 0
	if isEmpty {
		p.live, rounds = false, [][2]any{{unknown{}, unknown{}}}
	}
	for i := 0; i < len(rounds) && p.err == nil; i++ {
		p.rounds++
		p.fail(limit(p.rounds, roundLimit, tooMany))
		last := int64(len(rounds) - 1 - i)
		loop := loopState{"Counter": int64(i + 1), "Counter0": int64(i), "Revcounter": last + 1, "Revcounter0": last,
			"First": i == 0, "Last": last == 0}
		if parent, inside := outer["forloop"]; inside {
			loop["Parentloop"] = parent
		}
		p.locals = maps.Clone(outer)
		p.locals["forloop"] = loop
		for j, name := range names {
			p.locals[name] = rounds[i][j]
		}
		p.at = body
		end = p.block("for", depth)
	}
	p.locals = outer
	if end == "empty" {
		p.live = live && isEmpty
		p.block("empty", depth)
	}
	p.live = live
}

func (p *interpreter) name() string {
	t := p.next()
	if t.Typ != pongo2.TokenIdentifier {
		p.failAt(t, "%s", cure("text", "name"))
	}
	return t.Val
}

// withTag reads {% with NAME=VALUE NAME=VALUE %} … {% endwith %}, with or without Jinja2's commas.
func (p *interpreter) withTag(depth int) {
	outer, inner := p.locals, maps.Clone(p.locals)
	for more := true; more; more = p.accept(",") || p.current().Typ == pongo2.TokenIdentifier {
		name := p.name()
		p.expect("=")
		inner[name] = p.sum()
		if marked, isSafe := inner[name].(safe); isSafe { // it says so where it is printed, or not at all
			inner[name] = string(marked)
		}
	}
	p.expect("%}")
	p.locals = inner
	p.block("with", depth)
	p.locals = outer
}

// condition reads clauses joined by and or by or. As in Jinja2 those that decide nothing any more are not computed.
func (p *interpreter) condition() bool {
	holds, joint := p.clause(), ""
	for p.peek("and", "or") {
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
	not := p.accept("not")
	x, t := p.operand(true), p.current()
	if p.accept("not") {
		if not, t = !not, p.current(); t.Val != "in" {
			p.unexpected(t, "in")
		}
	}
	if !p.accept("==", "!=", "<", "<=", ">", ">=", "in") {
		return p.computes() && pongo2.AsValue(x).IsTrue() != not // as in Jinja2: not empty, not zero, not NULL
	}
	y := p.operand(true)
	if !p.computes() {
		return false
	}
	holds, err := compare(x, t.Val, y)
	p.check(t, err)
	return holds != not
}

// sum reads products joined by + and -.
func (p *interpreter) sum() any { return p.joined(p.product, "+", "-") }

// product reads values joined by *, each of which may have a minus.
func (p *interpreter) product() any {
	return p.joined(func() any {
		if !p.peek("-") {
			return p.operand(false)
		}
		return p.compute(int64(0), p.next(), p.operand(false))
	}, "*")
}

func (p *interpreter) joined(part func() any, operators ...string) any {
	value := part()
	for p.peek(operators...) {
		value = p.compute(value, p.next(), part())
	}
	return value
}

func (p *interpreter) compute(x any, operator *pongo2.Token, y any) any {
	if !p.computes() {
		return unknown{}
	}
	value, err := compute(x, operator.Val, y)
	p.check(operator, err)
	return value
}

// operand reads a value with its filters.
func (p *interpreter) operand(decimals bool) any {
	value := p.atom(decimals)
	for n := 1; p.accept("|"); n++ {
		p.fail(limit(n, filterLimit, "more than %d filters stand behind each other"))
		value = p.filter(value)
	}
	value = p.existing(value)
	p.spend(cost(value))
	return value
}

// existing fails if the value is of a name that does not exist.
func (p *interpreter) existing(value any) any {
	if missing, isMissing := value.(error); isMissing {
		p.fail(missing)
		return unknown{}
	}
	return value
}

// filter reads one filter, and applies it to the value.
func (p *interpreter) filter(value any) any {
	t := p.next()
	f, exists := filters[t.Val]
	if !exists {
		p.failAt(t, "there is no filter %s: %s", t.Val,
			cmp.Or(cure("filter", t.Val), "those are "+strings.Join(slices.Sorted(maps.Keys(filters)), ", ")))
	} else if p.peek("(") {
		p.failAt(t, `a filter's argument stands behind a colon: write %s:"…"`, t.Val)
	}
	has, argument := p.accept(":"), any(nil)
	if has {
		argument = p.existing(p.atom(true))
	}
	if has && !f.argument {
		p.failAt(t, "%s takes no argument", t.Val)
	} else if f.argument && !has {
		p.failAt(t, "an argument is missing: write %s:…", t.Val)
	}
	if _, isMissing := value.(error); isMissing && f.replacesMissing {
		value = nil
	}
	if value = p.existing(value); !p.computes() {
		return unknown{}
	}
	p.spend(cost(value) + cost(argument))
	value, err := f.apply(value, argument)
	if err != nil {
		p.failAt(t, "%s: %w", t.Val, err)
	}
	return value
}

// atom reads a name or a literal. Only where decimals are allowed may a number have them, or a minus.
func (p *interpreter) atom(decimals bool) (value any) {
	minus := ""
	if decimals && p.accept("-") {
		minus = "-"
	}
	switch t := p.next(); {
	case t.Typ == pongo2.TokenNumber && len(t.Val) > 1 && t.Val[0] == '0':
		p.failAt(t, "a number does not begin with 0")
	case t.Typ == pongo2.TokenNumber && p.accept("."): // the lexer makes three tokens of 1.5
		fraction, err := strconv.ParseFloat(minus+t.Val+"."+p.next().Val, 64)
		if value = fraction; err != nil || !decimals {
			p.failAt(t, "%s", cure("text", "whole"))
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

// path reads the attributes of a name, and looks them up. Of a name that does not exist it returns the error.
func (p *interpreter) path(t *pongo2.Token) any {
	path := t.Val
	value, found := p.locals[path]
	isGiven := !found
	if isGiven {
		value, found = p.values[path]
	}
	var missing error
	if !found {
		missing = problem(t, "there is no such name (there are %s); %s",
			strings.Join(slices.Sorted(maps.Keys(p.values)), ", "), cmp.Or(cure("name", path), cure("text", "default")))
	}
	for p.peek(".", "[") {
		isBracket := p.next().Val == "["
		t = p.next()
		isIndex := t.Typ == pongo2.TokenNumber
		if isBracket && (!isIndex && t.Typ != pongo2.TokenString || !p.accept("]")) {
			p.failAt(t, "only one text or number may stand in brackets")
		} else if !isBracket && !isIndex && t.Typ != pongo2.TokenIdentifier && t.Typ != pongo2.TokenKeyword {
			p.failAt(t, "the name of an attribute is expected here; %s", cure("text", "verbatim"))
		}
		path += "." + t.Val
		if value, found = member(value, t.Val, isIndex); !found && missing == nil {
			missing = problem(t, "there is no such attribute or element; %s", cure("text", "default"))
		}
	}
	if p.peek("(") {
		p.failAt(t, "there are no functions: %s", cmp.Or(cure("function", t.Val), cure("token", "(")))
	} else if missing != nil {
		return missing
	} else if isGiven {
		p.used[path] = true
	}
	switch v := value.(type) {
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case string:
		if !utf8.ValidString(v) {
			p.failAt(t, "its value is not valid UTF-8")
		}
	}
	return value
}

// print writes the value of an output that stands from open to shut.
func (p *interpreter) print(value any, open, shut *pongo2.Token) {
	if !p.computes() {
		return
	}
	line := p.lines[open.Line-1]
	source := line[open.Col-1 : shut.Col-1+strings.Index(line[shut.Col-1:], "}}")+len("}}")]
	word, kind, err := printed(value)
	if err != nil {
		p.failAt(open, "%s %w", source, err)
	}
	at := place{from: p.command.Len(), kind: kind, source: source, value: word,
		variable: p.environment[strings.Trim(source, "{}- ")]}
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
	if !p.computes() {
		return
	}
	text = strings.ReplaceAll(text, "\r\n", "\n")
	p.fail(limit(p.command.Len()+len(text), commandLimit, "it makes the command longer than %d bytes"))
	p.command.WriteString(text)
}
