package shelltemplate_test

// The nodes of the evaluator: text, outputs and tags.

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

type text struct{ raw, printed string }

func (n *text) tokens(to *[]token)          { *to = append(*to, token{text: n}) }
func (n *text) check(*evaluation, scope)    {}
func (n *text) eval(e *evaluation, _ scope) { e.out = append(e.out, marked{text: n.printed}) }

type output struct {
	value expression
	style style
}

func (n *output) tokens(to *[]token)           { *to = append(*to, n.style.tag("{{", n.value.String(), "}}")) }
func (n *output) check(e *evaluation, s scope) { n.value.check(e, s) }
func (n *output) eval(e *evaluation, s scope)  { e.out = append(e.out, printed(n.value.eval(e, s))) }

// printed is a value as one plain word.
func printed(value any) marked {
	switch v := value.(type) {
	case marked:
		return v
	case bool, int64, float64:
		return marked{text: shown(v)}
	case string:
		if !isPlain(v) {
			refuse("%q is no plain word", v)
		}
		return marked{text: v}
	}
	refuse("%T cannot be printed", value)
	return marked{}
}

// shown is a number, a boolean or a text as Jinja2 would print it, numbers as short as they are.
func shown(value any) string {
	switch v := value.(type) {
	case bool:
		if v {
			return "True"
		}
		return "False"
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case string:
		return v
	}
	refuse("%T has no text", value)
	return ""
}

func isPlain(s string) bool {
	for _, r := range s {
		if isInvisible(r) || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) &&
			!strings.ContainsRune("_@%+=:,./-", r) {
			return false
		}
	}
	return s != "" && s[0] != '-'
}

func isInvisible(r rune) bool {
	return unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector, unicode.Cf)
}

type clause struct {
	condition expression // nil for else
	body      []node
	style     style
}

type branch struct {
	clauses []clause
	end     style
}

func (n *branch) tokens(to *[]token) {
	for i, c := range n.clauses {
		switch {
		case i == 0:
			*to = append(*to, c.style.statement("if "+c.condition.String()))
		case c.condition != nil:
			*to = append(*to, c.style.statement("elif "+c.condition.String()))
		default:
			*to = append(*to, c.style.statement("else"))
		}
		tokensOf(c.body, to)
	}
	*to = append(*to, n.end.statement("endif"))
}

func (n *branch) check(e *evaluation, s scope) {
	for _, c := range n.clauses {
		if c.condition != nil {
			c.condition.check(e, s)
		}
		checkAll(c.body, e, s)
	}
}

func (n *branch) eval(e *evaluation, s scope) {
	for _, c := range n.clauses {
		if c.condition == nil || isTrue(e, c.condition.eval(e, s)) {
			evaluateAll(c.body, e, s)
			return
		}
	}
}

func isTrue(e *evaluation, value any) bool {
	switch v := value.(type) {
	case nil:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	e.unclear = true
	return true
}

type loop struct {
	key, name             string // key is only for maps
	over                  expression
	sorted, reversed      bool
	body, empty           []node
	start, otherwise, end style
}

func (n *loop) tokens(to *[]token) {
	head := "for " + n.name
	if n.key != "" {
		head = "for " + n.key + ", " + n.name
	}
	head += " in " + n.over.String()
	if n.sorted {
		head += " sorted"
	}
	if n.reversed {
		head += " reversed"
	}
	*to = append(*to, n.start.statement(head))
	tokensOf(n.body, to)
	if n.empty != nil {
		*to = append(*to, n.otherwise.statement("empty"))
		tokensOf(n.empty, to)
	}
	*to = append(*to, n.end.statement("endfor"))
}

func (n *loop) check(e *evaluation, s scope) {
	n.over.check(e, s)
	if over, ok := n.over.(*path); ok && !n.sorted && over.isStatic(s) {
		_, isMap := over.find(e, s).(map[string]any)
		e.lenient = e.lenient || isMap // a loop over a map is written with sorted, whether it runs or not
	}
	parent, _ := s["forloop"].(*round)
	inner := s.with("forloop", &round{parent: parent}).with(n.name, unknown{})
	if n.key != "" {
		inner = inner.with(n.key, unknown{})
	}
	checkAll(n.body, e, inner)
	checkAll(n.empty, e, s)
}

func (n *loop) eval(e *evaluation, s scope) {
	over := n.over.eval(e, s)
	byKey, isMap := over.(map[string]any)
	items := n.items(e, over)
	if n.sorted {
		sortItems(e, items)
	}
	if n.reversed {
		slices.Reverse(items)
	}
	if len(items) == 0 {
		evaluateAll(n.empty, e, s)
	}
	parent, _ := s["forloop"].(*round)
	for i, item := range items {
		inner := s.with("forloop", &round{int64(i + 1), int64(len(items)), parent})
		if n.key != "" {
			inner = inner.with(n.key, item)
			item = byKey[item.(string)]
		}
		evaluateAll(n.body, e, inner.with(n.name, item))
	}
	if n.key != "" && !isMap {
		e.lenient = true // an empty list, over which nothing shows that it is no map
	}
}

// items returns what the loop goes over, in a slice of its own.
func (n *loop) items(e *evaluation, over any) []any {
	var items []any
	switch v := over.(type) {
	case []any:
		items = slices.Clone(v)
	case string:
		for _, r := range v {
			items = append(items, string(r))
		}
	case map[string]any:
		if !n.sorted {
			refuse("a map that is not sorted")
		}
		for key := range v {
			items = append(items, key)
		}
		return items
	case marked:
		e.unclear = true
	default:
		refuse("a loop over %T", over)
	}
	if n.key != "" && len(items) > 0 {
		refuse("two names for a list")
	}
	return items
}

func sortItems(e *evaluation, items []any) {
	for _, item := range items {
		_, isNumber := exact(item)
		_, isText := item.(string)
		e.lenient = e.lenient || !isNumber && !isText // Jinja2 sorts one of anything, and booleans
	}
	folded := slices.Clone(items)
	slices.SortStableFunc(items, func(a, b any) int { return order(e, a, b) })
	slices.SortStableFunc(folded, func(a, b any) int {
		x, isText := a.(string)
		y, isTextToo := b.(string)
		if isText && isTextToo {
			return cmp.Compare(strings.ToLower(x), strings.ToLower(y))
		}
		return order(e, a, b)
	})
	if fmt.Sprint(items) != fmt.Sprint(folded) {
		e.unclear = true // Jinja2's sort ignores case, Python's sorted does not, and the grammar is silent
	}
}

type with struct {
	names      []string
	values     []expression
	body       []node
	start, end style
}

func (n *with) tokens(to *[]token) {
	head := "with"
	for i, name := range n.names {
		head += " " + name + "=" + n.values[i].String()
	}
	*to = append(*to, n.start.statement(head))
	tokensOf(n.body, to)
	*to = append(*to, n.end.statement("endwith"))
}

func (n *with) check(e *evaluation, s scope) {
	inner := s
	for i, name := range n.names {
		n.values[i].check(e, s)
		inner = inner.with(name, unknown{})
		if plain, ok := n.values[i].(*path); ok && plain.isStatic(s) {
			inner = inner.with(name, alias{plain.find(e, s)})
		}
	}
	checkAll(n.body, e, inner)
}

func (n *with) eval(e *evaluation, s scope) {
	inner := s
	for i, name := range n.names {
		value := n.values[i].eval(e, s)
		if _, ok := value.(marked); ok {
			e.lenient = true
		}
		inner = inner.with(name, value)
	}
	evaluateAll(n.body, e, inner)
}

// comment is {% comment %} around nodes that are not evaluated, or {# … #} around a text.
type comment struct {
	hidden     []node
	short      string
	start, end style
}

func (n *comment) tokens(to *[]token) {
	if n.hidden == nil {
		*to = append(*to, token{tag: "{#" + n.short + "#}"})
		return
	}
	*to = append(*to, n.start.statement("comment"))
	tokensOf(n.hidden, to)
	*to = append(*to, n.end.statement("endcomment"))
}

func (n *comment) check(*evaluation, scope) {}
func (n *comment) eval(*evaluation, scope)  {}

type verbatim struct{ raw string }

func (n *verbatim) tokens(to *[]token) {
	*to = append(*to, token{tag: "{% verbatim %}" + n.raw + "{% endverbatim %}"})
}

func (n *verbatim) check(*evaluation, scope)    {}
func (n *verbatim) eval(e *evaluation, _ scope) { e.out = append(e.out, marked{text: n.raw}) }

// foreign is what the grammar does not have, as a node and as an expression.
type foreign string

func (n foreign) tokens(to *[]token)          { *to = append(*to, token{tag: string(n)}) }
func (n foreign) String() string              { return string(n) }
func (n foreign) check(*evaluation, scope)    { refuse("not in the grammar: %s", string(n)) }
func (n foreign) eval(*evaluation, scope) any { return nil }

// foreignTag is foreign as a node: the two interfaces want eval with and without a result.
type foreignTag struct{ foreign }

func (n foreignTag) eval(*evaluation, scope) {}
