package shelltemplate_test

// Random values and random templates over the whole grammar for evaluator_test.go, most of them right, some with one
// mistake: a name that is missing, a value of the wrong type, something that the grammar does not have.

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Texts that are one plain word, and texts that are not.
var (
	plainTexts = []string{
		"a", "b", "region1", "eu-west-1", "x/y.z", "1", "010", "A=b", "a,b", "%41", "me@host", "UPPER", "straße", "ß",
		"ΟΔΟΣ", "Σ", "ς", "ΟΣ.Α", "aΣ\u0301", "ü", "u\u0308ber", "名前", "हिन्दी", "ภาษาไทย", "ﬁn", "ŉ", "İx", "ΐ",
		"done", "fi", "EOF", "True", "None", "5e3", "+1", "١٢",
	}
	oddTexts = []string{
		"", "-n", "a b", "it's", "$x", "$(touch P)", "x;touch P", "`id`", "a\nb", "\u3164", "a\u202eb", "*", "~",
		"a\"b", "a\\", "<a>", "[a]", "{a,b}", "#a", "a~b/c d", "1 ", "½",
	}
	wholeNumbers = []int64{0, 1, 2, 3, 5, 10, -1, -5, 100, 4611686018427387904, math.MaxInt64, math.MinInt64,
		9007199254740993}
	decimals = []float64{0.4, 1.26, -2.2, 3.14159, 100, 0, -0.7, 9007199254740992}
	words    = []string{"w", "apply", "--size=", "k=", "-v", "bar/baz", "x1", "a.b"}
)

// kind is the type of a value, as far as the generator knows it.
type kind int

const (
	aText kind = iota
	aWhole
	aDecimal
	aBoolean
	aNull
	texts
	wholes
	mixed
	aMap
	anything
)

// named is an expression that is in scope, with its kind.
type named struct {
	path path
	kind kind
}

type generator struct {
	*rand.Rand
	values  map[string]any
	names   []named // of globals and of locals, which come behind
	globals int     // how many of names
	loops   int     // around this place
	hidden  bool    // inside a comment, where no other comment may be
	mistake float64 // the chance of one, per place
}

func (g *generator) chance(p float64) bool { return g.Float64() < p }

func pick[T any](g *generator, from []T) T { return from[g.IntN(len(from))] }

func (g *generator) text() string {
	if g.chance(0.07) {
		return pick(g, oddTexts)
	}
	return pick(g, plainTexts)
}

func (g *generator) whole() int64 {
	if g.chance(0.7) {
		return pick(g, wholeNumbers[:8])
	}
	return pick(g, wholeNumbers)
}

func (g *generator) value(k kind) any {
	list := []any{}
	switch k {
	case aText:
		return g.text()
	case aWhole:
		return g.whole()
	case aDecimal:
		return pick(g, decimals)
	case aBoolean:
		return g.chance(0.5)
	case texts, wholes:
		for range g.IntN(4) {
			list = append(list, g.value(map[kind]kind{texts: aText, wholes: aWhole}[k]))
		}
		return list
	case mixed:
		for range g.IntN(4) {
			list = append(list, g.value(pick(g, []kind{aText, aWhole, aDecimal, aBoolean, aNull, texts, aMap})))
		}
		return list
	case aMap:
		m := map[string]any{}
		for _, key := range []string{"a", "b", "my-key", "0", "ü"} {
			if g.chance(0.5) {
				m[key] = g.value(pick(g, []kind{aText, aText, aWhole}))
			}
		}
		return m
	}
	return nil
}

// newGenerator makes the values that the template has.
func newGenerator(seed uint64) *generator {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 15)), values: map[string]any{}}
	if g.chance(0.45) {
		g.mistake = 0.06
	}
	add := func(k kind, keys ...any) {
		value := g.value(k)
		if k == aNull && len(keys) == 1 && g.chance(0.5) {
			value, k = g.whole(), aWhole
		}
		p := path{root: keys[0].(string)}
		into := g.values
		for i, key := range keys {
			name := key.(string)
			if i > 0 {
				p.steps = append(p.steps, step{name, strings.Contains(name, "-") || g.chance(0.2)})
			}
			if i == len(keys)-1 {
				into[name] = value
			} else if into[name] == nil {
				into[name] = map[string]any{}
				into = into[name].(map[string]any)
			} else {
				into = into[name].(map[string]any)
			}
		}
		g.names = append(g.names, named{p, k})
		if list, ok := value.([]any); ok && len(list) > 0 && k != mixed {
			i := g.IntN(len(list))
			element := path{p.root, append(p.steps[:len(p.steps):len(p.steps)], step{i, g.chance(0.5)})}
			g.names = append(g.names, named{element, map[kind]kind{texts: aText, wholes: aWhole}[k]})
		}
	}
	for _, name := range []string{"size", "queued_size", "queued", "running"} {
		add(aWhole, name)
	}
	add(aNull, "previous_size")
	add(aText, "worker_pool", "name")
	add(aWhole, "worker_pool", "id")
	add(aDecimal, "worker_pool", "multiplier")
	add(aBoolean, "worker_pool", "enabled")
	add(aText, "variables", "region")
	add(aText, "variables", "my-key")
	add(aText, "variables", "net", "zone")
	add(aWhole, "variables", "n")
	add(aDecimal, "variables", "f")
	add(aBoolean, "variables", "spot")
	add(aNull, "variables", "nothing")
	add(texts, "variables", "zones")
	add(wholes, "variables", "counts")
	add(mixed, "variables", "mixed")
	add(aMap, "variables", "tags")
	g.globals = len(g.names)
	return g
}

func number(n int64) *literal { return &literal{n, strconv.FormatInt(n, 10)} }

func (g *generator) textLiteral() *literal {
	s := g.text()
	for strings.ContainsAny(s, "\"'\\\n{}") {
		s = g.text()
	}
	return quotedLiteral(s, pick(g, []string{`"`, `'`}))
}

func quotedLiteral(s, quote string) *literal { return &literal{s, quote + s + quote} }

func (g *generator) literal(k kind) expression {
	switch k {
	case aWhole:
		return number(int64(pick(g, []int{0, 1, 2, 3, 7, 12})))
	case aBoolean:
		b := g.chance(0.5)
		return &literal{b, strconv.FormatBool(b)}
	}
	return g.textLiteral()
}

func (g *generator) missing() *path {
	return pick(g, []*path{{"nosuch", nil}, {"variables", []step{{"nosuch", false}}}, {"size", []step{{"x", false}}},
		{"variables", []step{{"zones", false}, {9, g.chance(0.5)}}}, {"variables", []step{{"no-such", true}}},
		{"forloop", []step{{"counter", false}}}, {"forloop", []step{{"Counter", false}, {"x", false}}}})
}

// name is a name in scope of that kind; sometimes it is of another, or missing.
func (g *generator) name(k kind) expression {
	if g.chance(g.mistake / 2) {
		return g.missing()
	}
	if g.loops > 0 && k == aWhole && g.chance(0.3) {
		return g.forloop(pick(g, []string{"Counter", "Counter0", "Revcounter", "Revcounter0"}))
	}
	if g.loops > 0 && k == aBoolean && g.chance(0.5) {
		return g.forloop(pick(g, []string{"First", "Last"}))
	}
	var fitting []named
	for i, n := range g.names {
		if n.kind == k || k == anything || g.chance(g.mistake/10) {
			fitting = append(fitting, n)
			if i >= g.globals { // prefer locals
				fitting = append(fitting, n)
			}
		}
	}
	if len(fitting) == 0 {
		return g.literal(k)
	}
	p := pick(g, fitting).path
	return &p
}

func (g *generator) forloop(attribute string) *path {
	p := &path{root: "forloop"}
	for range g.loops - 1 {
		if g.chance(0.3) {
			p.steps = append(p.steps, step{"Parentloop", false})
		}
	}
	p.steps = append(p.steps, step{attribute, false})
	return p
}

// valueOf is a name or a literal of that kind, or filters that lead to it.
func (g *generator) valueOf(k kind) expression {
	blank := ""
	if g.chance(0.1) {
		blank = " "
	}
	filters := func(operand expression, list ...filter) expression {
		return &filtered{operand, list, blank}
	}
	orDefault := func(operand expression) expression {
		if g.chance(0.15) {
			name := pick(g, []string{"default", "default", "default_if_none"})
			argument := g.literal(k)
			if g.chance(0.3) {
				argument = g.name(k)
			}
			if g.chance(0.5) {
				operand = g.missing()
			} else if g.chance(0.3) {
				operand = g.name(aNull)
			}
			return filters(operand, filter{name, argument})
		}
		return operand
	}
	switch {
	case k == aText && g.chance(0.35):
		return g.textFiltered(filters)
	case k == aText && g.chance(0.1), k == aBoolean && g.chance(0.1), k == aWhole && g.chance(0.15):
		return g.literal(k)
	case k == aWhole && g.chance(0.15):
		return filters(g.name(pick(g, []kind{texts, wholes, aText, aMap, mixed})), filter{"length", nil})
	case k == aWhole && g.chance(0.1):
		return filters(g.name(wholes), filter{pick(g, []string{"first", "last"}), nil}, filter{"default", number(4)})
	case k == anything && g.chance(g.mistake):
		return g.textFiltered(filters)
	}
	return orDefault(g.name(k))
}

func (g *generator) textFiltered(filters func(expression, ...filter) expression) expression {
	var list []filter
	operand := g.name(aText)
	switch g.IntN(8) {
	case 0, 1:
		operand = g.name(pick(g, []kind{texts, texts, wholes, mixed}))
		list = append(list, filter{"join", quotedLiteral(pick(g, []string{",", "-", "/", "", "ß"}), `"`)})
	case 2:
		operand = g.name(texts)
		list = append(list, filter{pick(g, []string{"first", "last"}), nil})
		if g.chance(0.7) {
			list = append(list, filter{"default", g.textLiteral()})
		}
	case 3, 4:
		places := number(int64(pick(g, []int{0, 1, 2, 3, 5})))
		return filters(g.name(pick(g, []kind{aDecimal, aDecimal, aWhole})), filter{"floatformat", places})
	}
	for range 1 + g.IntN(2) {
		f := filter{pick(g, []string{"lower", "upper", "first", "last", "urlencode", "cut"}), nil}
		if f.name == "cut" {
			f.argument = g.textLiteral()
		}
		list = append(list, f)
	}
	return filters(operand, list...)
}

func (g *generator) sum() expression {
	x := &sum{blank: pick(g, []string{" ", " ", " ", ""})}
	for i := range 1 + g.IntN(3) {
		if i > 0 {
			x.signs = append(x.signs, pick(g, []string{"+", "-"}))
		}
		product := []expression{g.valueOf(aWhole)}
		for g.chance(0.3) || len(product) == 1 && i == 0 && g.chance(0.3) {
			product = append(product, g.valueOf(aWhole))
		}
		x.products = append(x.products, product)
	}
	if g.chance(g.mistake / 2) {
		x.products[0] = append(x.products[0], g.valueOf(pick(g, []kind{aText, aNull, aDecimal, aBoolean})))
	}
	if g.chance(g.mistake / 4) {
		x.products[0] = append(x.products[0], &literal{nil, "9223372036854775808"})
	}
	if len(x.products) == 1 && len(x.products[0]) == 1 {
		return x.products[0][0]
	}
	return x
}

// printable is what may stand in an output, but quote and json; k is what it is.
func (g *generator) printable() (x expression, k kind) {
	if g.chance(g.mistake) {
		return g.foreign(foreignValues), aText
	}
	switch g.IntN(6) {
	case 0:
		return g.valueOf(aDecimal), aDecimal
	case 1, 2:
		return g.sum(), aWhole
	case 3:
		return g.valueOf(aBoolean), aBoolean
	}
	if g.chance(g.mistake) {
		return g.valueOf(anything), anything
	}
	return g.valueOf(aText), aText
}

func (g *generator) foreign(from []string) foreign {
	return foreign(strings.ReplaceAll(pick(g, from), "%s", g.name(anything).String()))
}

var foreignValues = []string{
	"%s > 2", "%s or 1", "not %s", "%s / 2", "%s ^ 2", "%s % 2", "%s // 2", "(%s)", "%s ~ size", "1 if %s else 2",
	"[%s, 2]", "%s and size", "%s == 1", "%s is defined", "%s()", "%s|int", `%s|replace:"a"`, "%s|default('x')",
	"%s|title", "%s|add:1", "range(%s)", "(%s + 1) * 2", "2 * (%s + 1)", "%s in size", "size + %s > 1", "loop.index",
	"forloop.counter", "%s|quote + 1 > 1", "%s || 1", "!%s", "%s && 1", "size size", "%s ** 2",
}

var foreignConditions = []string{
	"0 < %s < 9", "size == %s == 1", "size and %s or queued", "size or %s and queued", "(%s)", "%s + 1 > 2",
	"not (%s)", "%s is defined", "%s in variables.zones in size", "%s <> 1", "size && %s", "size || %s", "!%s",
	"size > (%s or 0)", "%s > 1 == true", "%s = 1", "%s is none", "size * %s", "[%s]", "%s not size",
}

var foreignTags = []string{
	"{% set x = %s %}", `{% include "x" %}`, "{% for x in variables.zones %}{% else %}{% endfor %}",
	"{% raw %}w{% endraw %}", "{% with %s as x %}{% endwith %}", "{% autoescape off %}w{% endautoescape %}",
	"{% filter upper %}w{% endfilter %}", "{% firstof %s %}", `{% now "2006" %}`, "{% if %s %}", "{% endif %}",
	"{% macro x() %}{% endmacro %}", "{% for x, y, z in variables.tags sorted %}{% endfor %}", "{% import \"x\" y %}",
	"{% templatetag openblock %}", "{% spaceless %}w{% endspaceless %}", "{% ifchanged %}w{% endifchanged %}",
	"{% ifequal %s 1 %}w{% endifequal %}", "{% cycle 1 2 %}", "{% for x in range(3) %}{% endfor %}",
	"{% block x %}w{% endblock %}", `{% extends "x" %}`, `{% ssi "/etc/hostname" %}`, "{% lorem %}",
	"{% widthratio %s 1 2 %}", "{% for size %}{% endfor %}", "{{ %s", "{{ }}", "{% %}", "{% with %}{% endwith %}",
}

func (g *generator) condition() expression {
	if g.chance(g.mistake) {
		return g.foreign(foreignConditions)
	}
	x := &conditions{word: pick(g, []string{"and", "or"})}
	for range []int{1, 1, 1, 2, 2, 3}[g.IntN(6)] {
		x.list = append(x.list, g.single())
	}
	return x
}

func (g *generator) single() *condition {
	c := &condition{not: g.chance(0.25)}
	if g.chance(0.3) {
		c.left = g.valueOf(pick(g, []kind{aText, aWhole, aDecimal, aBoolean, aNull, texts, aMap, mixed}))
		return c
	}
	c.operator = pick(g, []string{"==", "!=", "<", "<=", ">", ">=", "in", "not in"})
	k := pick(g, []kind{aText, aWhole, aWhole})
	c.left = g.valueOf(k)
	if c.operator == "in" || c.operator == "not in" {
		over := map[kind][]kind{aText: {texts, aText, aMap}, aWhole: {wholes}}[k]
		c.right = g.valueOf(pick(g, over))
		if g.chance(0.1) {
			c.right = g.name(mixed)
		}
		return c
	}
	c.right = g.valueOf(k)
	if k == aWhole && g.chance(0.4) {
		c.right = g.valueOf(aDecimal)
	}
	if k == aWhole && g.chance(0.3) {
		f := pick(g, []float64{0.5, 1.5, 2.25, 10.75})
		c.right = &literal{f, strconv.FormatFloat(f, 'f', -1, 64)}
	}
	if g.chance(0.1) && (c.operator == "==" || c.operator == "!=") {
		k = pick(g, []kind{aNull, aBoolean})
		c.left, c.right = g.name(k), g.name(k)
	}
	if g.chance(g.mistake) {
		c.right = g.valueOf(pick(g, []kind{aText, aNull, aBoolean, texts}))
	}
	return c
}

func (g *generator) style() style {
	st := style{blank: " ", left: g.chance(0.12), right: g.chance(0.12)}
	if g.chance(0.1) {
		st.blank = ""
	}
	return st
}

// body is some nodes; no two texts stand beside each other.
func (g *generator) body(depth int) []node {
	var nodes []node
	add := func(n node) {
		if t, ok := n.(*text); ok && len(nodes) > 0 {
			if before, ok := nodes[len(nodes)-1].(*text); ok {
				before.raw += t.raw
				return
			}
		}
		nodes = append(nodes, n)
	}
	for range 1 + g.IntN(3) {
		add(&text{raw: pick(g, []string{" ", " ", "  ", "\necho "}) + pick(g, words) + pick(g, []string{" ", " ", ""})})
		if g.chance(g.mistake / 3) {
			add(foreignTag{g.foreign(foreignTags)})
		}
		if depth < 3 && g.chance(0.55) {
			add(g.tag(depth + 1))
			continue
		}
		g.output(add)
	}
	return nodes
}

func (g *generator) output(add func(node)) {
	x, k := g.printable()
	st := g.style()
	if _, ok := x.(foreign); ok {
		add(&output{x, st})
		return
	}
	switch g.IntN(10) {
	case 0:
		add(&text{raw: " "})
		kinds := []kind{aText, aText, aWhole, aNull, aBoolean}
		add(&output{g.behind(g.name(pick(g, kinds)), "quote"), style{blank: " "}})
	case 1:
		add(&text{raw: " '"})
		kinds := []kind{aText, aText, aWhole, aNull, aBoolean, texts, aMap, aDecimal, mixed}
		add(&output{g.behind(g.name(pick(g, kinds)), "json"), st})
		add(&text{raw: "' "})
	case 2:
		add(&output{g.behind(&literal{"a b", `"a b"`}, "safe"), st})
	case 3:
		add(&text{raw: " '"})
		add(&verbatim{pick(g, []string{"{{.Names}}", "{{ size }}", "{% if %}", "{# x #}", " {{", "w"})})
		add(&text{raw: "'"})
	default:
		add(&output{x, st})
		if k != anything && g.chance(0.1) { // beside each other
			y, _ := g.printable()
			add(&output{y, g.style()})
		}
	}
}

func (g *generator) behind(x expression, name string) expression {
	return &filtered{x, []filter{{name, nil}}, ""}
}

func (g *generator) tag(depth int) node {
	before := len(g.names)
	defer func() { g.names = g.names[:before] }()
	switch g.IntN(8) {
	case 0, 1, 2:
		n := &branch{end: g.style()}
		for range 1 + g.IntN(3) {
			n.clauses = append(n.clauses, clause{g.condition(), g.body(depth), g.style()})
		}
		if g.chance(0.6) {
			n.clauses = append(n.clauses, clause{nil, g.body(depth), g.style()})
		}
		return n
	case 3, 4, 5:
		return g.loop(depth)
	case 6:
		n := &with{start: g.style(), end: g.style()}
		var inner []named
		for i := range 1 + g.IntN(3) {
			name := []string{"a", "b", "size"}[i]
			x, k := g.printable()
			if g.chance(0.2) {
				k = pick(g, []kind{texts, aMap, aNull})
				x = g.name(k)
			}
			n.names, n.values = append(n.names, name), append(n.values, x)
			if name != "size" {
				inner = append(inner, named{path{root: name}, k})
			}
		}
		g.names = append(g.names, inner...)
		n.body = g.body(depth)
		return n
	}
	if g.hidden || g.chance(0.5) {
		return &comment{short: pick(g, []string{" x ", "", "{{ y }}", " don't "})}
	}
	defer func(mistake float64) { g.mistake, g.hidden = mistake, false }(g.mistake)
	g.mistake, g.hidden = 0, true
	return &comment{hidden: append(g.body(depth), &output{g.missing(), g.style()}), start: g.style(), end: g.style()}
}

func (g *generator) loop(depth int) node {
	n := &loop{start: g.style(), otherwise: g.style(), end: g.style(), sorted: g.chance(0.3), reversed: g.chance(0.3)}
	n.name = pick(g, []string{"a", "b", "zone", "item"})
	k := pick(g, []kind{texts, texts, wholes, wholes, aText, aMap, mixed})
	n.over = g.valueOf(k)
	item := map[kind]kind{texts: aText, wholes: aWhole, aText: aText, aMap: aText, mixed: anything}[k]
	if k == mixed && g.chance(0.7) {
		n.sorted = false
	}
	if k == aMap {
		n.sorted = !g.chance(g.mistake)
		if g.chance(0.5) {
			n.key, item = "k", anything
		}
	}
	if g.chance(0.4) {
		n.empty = g.body(depth)
	}
	if n.key != "" {
		g.names = append(g.names, named{path{root: n.key}, aText})
	}
	if item != anything {
		g.names = append(g.names, named{path{root: n.name}, item})
	}
	g.loops++
	n.body = g.body(depth)
	g.loops--
	return n
}
