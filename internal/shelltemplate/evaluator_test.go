package shelltemplate_test

// A second opinion on what a template means. The nodes below are the allowed grammar as a tree; each prints itself as
// template text and evaluates itself by the rules of Jinja2, the plain way and without the engine. generator_test.go
// makes random trees, and TestAgainstEvaluator compares. The borders of shells are not in here: each output is a word
// behind echo, where they do not matter; fuzz_test.go is about them.

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"vespene-autoscale/internal/shelltemplate"
)

// refusal is what evaluation panics with where the template must be refused; it says why, for the test's messages.
type refusal string

// absent is the value of a name that does not exist. Only the filter default takes it.
type absent struct{ name string }

// marked is text that quote, json or safe made: it is printed as it is.
type marked struct {
	text   string
	isJSON bool // json is what is printed, and there is no text
	json   any
}

// round is forloop, in one round of a loop.
type round struct {
	counter, of int64
	parent      *round
}

// unknown stands, while the names are checked, for what only evaluation can tell. alias is the same for a name made by
// with, whose value is there to be looked at.
type unknown struct{}
type alias struct{ value any }

// evaluation is the state of one evaluation. lenient is set where the grammar leaves it open whether something is
// refused; where it is not, the result still has to be right. unclear is set where the grammar does not say the result.
type evaluation struct {
	out      []marked
	lenient  bool
	unclear  bool
	roots    map[string]bool
	checking bool
}

type scope map[string]any

func (s scope) with(name string, value any) scope {
	inner := scope{}
	for n, v := range s {
		inner[n] = v
	}
	inner[name] = value
	return inner
}

func refuse(format string, args ...any) { panic(refusal(fmt.Sprintf(format, args...))) }

// evaluate returns what the template renders to, as parts, or why it is refused.
func evaluate(nodes []node, values map[string]any) (e *evaluation, why refusal) {
	e = &evaluation{roots: map[string]bool{}}
	defer func() {
		problem := recover()
		if problem == nil {
			return
		}
		var ok bool
		if why, ok = problem.(refusal); !ok {
			panic(problem)
		}
	}()
	top := scope{}
	for name, value := range values {
		top[name] = value
	}
	e.checking = true
	checkAll(nodes, e, top)
	e.checking = false
	evaluateAll(nodes, e, top)
	return e, ""
}

// A node is a piece of a template: text, an output or a tag with what it encloses.
type node interface {
	tokens(to *[]token)
	check(e *evaluation, s scope) // refuses what is refused before anything runs
	eval(e *evaluation, s scope)
}

func checkAll(nodes []node, e *evaluation, s scope) {
	for _, n := range nodes {
		n.check(e, s)
	}
}

func evaluateAll(nodes []node, e *evaluation, s scope) {
	for _, n := range nodes {
		n.eval(e, s)
	}
}

// A token is a tag as it is written, or text that tags beside it may trim.
type token struct {
	tag  string
	text *text
}

func tokensOf(nodes []node, to *[]token) {
	for _, n := range nodes {
		n.tokens(to)
	}
}

// write returns the template's text, and tells each text node what the tags beside it trim.
func write(nodes []node) string {
	var all []token
	tokensOf(nodes, &all)
	var b strings.Builder
	for i, t := range all {
		if t.text == nil {
			b.WriteString(t.tag)
			continue
		}
		b.WriteString(t.text.raw)
		t.text.printed = t.text.raw
		if i > 0 && (strings.HasSuffix(all[i-1].tag, "-}}") || strings.HasSuffix(all[i-1].tag, "-%}")) {
			t.text.printed = strings.TrimLeft(t.text.printed, " \t\n")
		}
		if i+1 < len(all) && (strings.HasPrefix(all[i+1].tag, "{{-") || strings.HasPrefix(all[i+1].tag, "{%-")) {
			t.text.printed = strings.TrimRight(t.text.printed, " \t\n")
		}
	}
	return b.String()
}

// style is how a tag is written: the blanks inside it, and whether it trims on either side.
type style struct {
	blank       string
	left, right bool
}

func (st style) tag(open, inside, end string) token {
	left, right := "", ""
	if st.left {
		left = "-"
	}
	if st.right {
		right = "-"
	}
	return token{tag: open + left + st.blank + inside + st.blank + right + end}
}

func (st style) statement(inside string) token { return st.tag("{%", inside, "%}") }

// difference returns what is wrong with the rendered line, or nothing. A JSON value is right if it reads as the value,
// and has no character in its texts that is special to a shell.
func difference(parts []marked, line string) string {
	rest := line
	for _, part := range parts {
		if !part.isJSON {
			if !strings.HasPrefix(rest, part.text) {
				return fmt.Sprintf("at %q, want %q", rest, part.text)
			}
			rest = rest[len(part.text):]
			continue
		}
		decoder := json.NewDecoder(strings.NewReader(rest))
		decoder.UseNumber()
		var got any
		if err := decoder.Decode(&got); err != nil {
			return fmt.Sprintf("at %q, want JSON: %v", rest, err)
		}
		if !sameJSON(got, part.json) {
			return fmt.Sprintf("at %q, want the JSON of %#v", rest, part.json)
		}
		raw := rest[:decoder.InputOffset()]
		if i := strings.IndexFunc(raw, func(r rune) bool {
			return !unicode.In(r, unicode.L, unicode.M, unicode.Nd) && !strings.ContainsRune(` _-.,:/"\{}[]+`, r)
		}); i >= 0 {
			return fmt.Sprintf("%s has a character that is special to a shell", raw)
		}
		if escaped := strings.Split(raw, `\`)[1:]; len(escaped) > 0 {
			for _, sequence := range escaped {
				if !strings.HasPrefix(sequence, "u") {
					return fmt.Sprintf(`%s has a backslash without u`, raw)
				}
			}
		}
		rest = rest[len(raw):]
	}
	if rest != "" {
		return fmt.Sprintf("%q too much", rest)
	}
	return ""
}

func sameJSON(got, want any) bool {
	switch w := want.(type) {
	case int64:
		n, ok := got.(json.Number)
		return ok && string(n) == strconv.FormatInt(w, 10)
	case float64:
		n, ok := got.(json.Number)
		f, err := strconv.ParseFloat(string(n), 64)
		return ok && err == nil && f == w
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(w) {
			return false
		}
		for i := range w {
			if !sameJSON(list[i], w[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		m, ok := got.(map[string]any)
		if !ok || len(m) != len(w) {
			return false
		}
		for key := range w {
			if v, ok := m[key]; !ok || !sameJSON(v, w[key]) {
				return false
			}
		}
		return true
	}
	return got == want
}

// testAgainstEvaluator makes the seed's template and compares; it returns what came: "rendered", "refused" or "open".
func testAgainstEvaluator(t *testing.T, seed uint64) string {
	g := newGenerator(seed)
	nodes := append([]node{&text{raw: "echo w"}}, g.body(0)...)
	template := write(nodes)
	e, why := evaluate(nodes, g.values)
	got, err := shelltemplate.Render(template, g.values, nil)
	report := func(format string, args ...any) {
		t.Errorf("seed %d: template %q\nvalues %#v\n%s", seed, template, g.values, fmt.Sprintf(format, args...))
	}
	switch {
	case e.unclear:
		return "open"
	case why != "" && err == nil:
		report("rendered %q, want it refused: %s", got.Line, string(why))
	case why != "":
		return "refused"
	case err != nil && e.lenient:
		return "open"
	case err != nil:
		report("refused: %v; want %+v", err, e.out)
	default:
		if problem := difference(e.out, got.Line); problem != "" {
			report("rendered %q: %s", got.Line, problem)
		}
		if !slices.IsSorted(got.Names) || fmt.Sprint(rootsOf(got.Names)) != fmt.Sprint(e.roots) {
			report("uses %v, want %v", got.Names, e.roots)
		}
	}
	return "rendered"
}

// rootsOf is the set of the names up to their first point.
func rootsOf(names []string) map[string]bool {
	roots := map[string]bool{}
	for _, name := range names {
		root, _, _ := strings.Cut(name, ".")
		roots[root] = true
	}
	return roots
}

func TestAgainstEvaluator(t *testing.T) {
	came := map[string]int{}
	for seed := range uint64(1000) {
		came[testAgainstEvaluator(t, seed)]++
	}
	t.Log(came)
	if came["rendered"] < 350 || came["refused"] < 200 {
		t.Errorf("the templates are too one-sided: %v", came)
	}
}

func FuzzAgainstEvaluator(f *testing.F) {
	f.Add(uint64(1000))
	f.Fuzz(func(t *testing.T, seed uint64) { testAgainstEvaluator(t, seed) })
}
