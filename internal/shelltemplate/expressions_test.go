package shelltemplate_test

// The expressions of the evaluator: names, sums and comparisons.

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// An expression is what has a value.
type expression interface {
	String() string
	check(e *evaluation, s scope)
	eval(e *evaluation, s scope) any
}

type literal struct {
	value any
	spelt string
}

func (x *literal) String() string              { return x.spelt }
func (x *literal) eval(*evaluation, scope) any { return x.value }
func (x *literal) check(*evaluation, scope) {
	if x.value == nil {
		refuse("%s is beyond 64 bits", x.spelt)
	}
}

// path is a name with attributes and subscripts. A step is a string or an int, and written with a dot or in brackets.
type path struct {
	root  string
	steps []step
}

type step struct {
	key     any
	bracket bool
}

func (x *path) String() string {
	s := x.root
	for _, step := range x.steps {
		switch {
		case !step.bracket:
			s += fmt.Sprintf(".%v", step.key)
		default:
			s += fmt.Sprintf("[%#v]", step.key)
		}
	}
	return s
}

// isStatic says whether the value can be told without evaluating tags.
func (x *path) isStatic(s scope) bool {
	switch s[x.root].(type) {
	case unknown, *round:
		return false
	}
	return true
}

func (x *path) check(e *evaluation, s scope) {
	if gone, ok := x.find(e, s).(absent); ok {
		refuse("there is no %s", gone.name)
	}
}

func (x *path) eval(e *evaluation, s scope) any {
	value := x.find(e, s)
	if gone, ok := value.(absent); ok {
		refuse("there is no %s", gone.name)
	}
	return value
}

// find returns the value, or absent.
func (x *path) find(e *evaluation, s scope) any {
	value, ok := s[x.root]
	if !ok {
		e.lenient = e.lenient || len(x.steps) > 0
		return absent{x.String()}
	}
	switch v := value.(type) {
	case unknown, *round:
	case alias:
		if _, ok := x.walk(e, v.value).(absent); ok {
			e.lenient = true
		}
		return unknown{}
	default:
		if found := x.walk(e, value); !isAbsent(found) && e.checking {
			e.roots[x.root] = true
		}
	}
	return x.walk(e, value)
}

// walk takes the steps from a value.
func (x *path) walk(e *evaluation, value any) any {
	for i, step := range x.steps {
		value = attribute(e, value, step.key)
		if _, ok := value.(absent); ok {
			e.lenient = e.lenient || i < len(x.steps)-1 // to Jinja2, what is missing has no attributes to be missing
			return absent{x.String()}
		}
	}
	return value
}

// attribute is one step from a value.
func attribute(e *evaluation, value, key any) any {
	switch v := value.(type) {
	case unknown:
		return v
	case *round:
		return v.attribute(e, key)
	case map[string]any:
		if name, ok := key.(string); ok {
			if inner, ok := v[name]; ok {
				return inner
			}
		} else if _, ok := v[fmt.Sprint(key)]; ok {
			e.lenient = true // {"0": …}.0 is another key to Python
		}
	case []any:
		if i, ok := key.(int); ok && i < len(v) {
			return v[i]
		}
	case string:
		if i, ok := key.(int); ok {
			e.lenient = true // Jinja2 takes the character
			if runes := []rune(v); i < len(runes) {
				return string(runes[i])
			}
		}
	case marked:
		e.unclear = true
	}
	return absent{}
}

func (r *round) attribute(e *evaluation, key any) any {
	switch key {
	case "Counter":
		return r.counter
	case "Counter0":
		return r.counter - 1
	case "Revcounter":
		return r.of - r.counter + 1
	case "Revcounter0":
		return r.of - r.counter
	case "First":
		return r.counter == 1
	case "Last":
		return r.counter == r.of
	case "Parentloop":
		if r.parent == nil {
			e.lenient = true
			return nil
		}
		return r.parent
	}
	return absent{}
}

// sum is products joined by + and -, from left to right.
type sum struct {
	products [][]expression
	signs    []string // before each product but the first
	blank    string
}

func (x *sum) String() string {
	var b strings.Builder
	for i, product := range x.products {
		if i > 0 {
			b.WriteString(x.blank + x.signs[i-1] + x.blank)
		}
		for j, factor := range product {
			if j > 0 {
				b.WriteString(x.blank + "*" + x.blank)
			}
			b.WriteString(factor.String())
		}
	}
	return b.String()
}

func (x *sum) check(e *evaluation, s scope) {
	for _, product := range x.products {
		for _, factor := range product {
			factor.check(e, s)
		}
	}
}

func (x *sum) eval(e *evaluation, s scope) any {
	total := new(big.Int)
	for i, product := range x.products {
		result := big.NewInt(1)
		for _, factor := range product {
			result.Mul(result, big.NewInt(whole(e, factor.eval(e, s))))
			e.lenient = e.lenient || !result.IsInt64()
		}
		if i > 0 && x.signs[i-1] == "-" {
			result.Neg(result)
		}
		total.Add(total, result)
		e.lenient = e.lenient || !total.IsInt64() // what comes behind may bring it back
	}
	if !total.IsInt64() {
		refuse("%s is beyond 64 bits", total)
	}
	return total.Int64()
}

// whole is a term of a sum. Jinja2 adds decimals and booleans too; the grammar does not say that they are refused.
func whole(e *evaluation, value any) int64 {
	switch v := value.(type) {
	case int64:
		return v
	case float64:
		e.lenient = true
		e.unclear = e.unclear || v != float64(int64(v))
		return int64(v)
	case bool:
		e.lenient = true
		if v {
			return 1
		}
		return 0
	case marked:
		e.unclear = true
		return 0
	}
	refuse("%T in a sum", value)
	return 0
}

// condition is a value by itself, or a comparison of two; conditions are several.
type condition struct {
	not         bool
	left, right expression
	operator    string // empty: left alone
}

type conditions struct {
	word string // and, or
	list []*condition
}

func (x *condition) String() string {
	s := ""
	if x.not {
		s = "not "
	}
	s += x.left.String()
	if x.operator != "" {
		s += " " + x.operator + " " + x.right.String()
	}
	return s
}

func (x *conditions) String() string {
	var parts []string
	for _, c := range x.list {
		parts = append(parts, c.String())
	}
	return strings.Join(parts, " "+x.word+" ")
}

func (x *condition) check(e *evaluation, s scope) {
	x.left.check(e, s)
	if x.right != nil {
		x.right.check(e, s)
	}
}

func (x *conditions) check(e *evaluation, s scope) {
	for _, c := range x.list {
		c.check(e, s)
	}
}

func (x *condition) eval(e *evaluation, s scope) any {
	left := x.left.eval(e, s)
	if x.operator == "" {
		return isTrue(e, left) != x.not
	}
	return compare(e, left, x.operator, x.right.eval(e, s)) != x.not
}

func (x *conditions) eval(e *evaluation, s scope) any {
	for _, c := range x.list {
		if c.eval(e, s).(bool) == (x.word == "or") {
			return x.word == "or"
		}
	}
	return x.word == "and"
}

func compare(e *evaluation, left any, operator string, right any) bool {
	switch operator {
	case "in":
		return contains(e, right, left)
	case "not in":
		return !contains(e, right, left)
	case "==":
		return equal(e, left, right)
	case "!=":
		return !equal(e, left, right)
	}
	direction := order(e, left, right)
	switch operator {
	case "<":
		return direction < 0
	case "<=":
		return direction <= 0
	case ">":
		return direction > 0
	}
	return direction >= 0
}

func equal(e *evaluation, left, right any) bool {
	if left == nil || right == nil {
		for _, other := range []any{left, right} {
			_, isNumber := exact(other)
			scalar := isNumber || slices.Contains([]string{"<nil>", "string", "bool"}, fmt.Sprintf("%T", other))
			e.lenient = e.lenient || !scalar
		}
		return left == nil && right == nil
	}
	return order(e, left, right) == 0
}

// order compares two numbers, two texts or two booleans.
func order(e *evaluation, left, right any) int {
	_, leftMarked := left.(marked)
	_, rightMarked := right.(marked)
	if leftMarked || rightMarked {
		e.unclear = true
		return 0
	}
	if a, ok := exact(left); ok {
		if b, ok := exact(right); ok {
			return a.Cmp(b)
		}
	}
	switch a := left.(type) {
	case string:
		if b, ok := right.(string); ok {
			return strings.Compare(a, b)
		}
	case bool:
		if b, ok := right.(bool); ok {
			e.lenient = e.lenient || a != b // Jinja2 finds one of them smaller, and the grammar need not
			return int(whole(&evaluation{}, a) - whole(&evaluation{}, b))
		}
	}
	refuse("%T compared with %T", left, right)
	return 0
}

// exact is a number without rounding.
func exact(value any) (*big.Rat, bool) {
	switch v := value.(type) {
	case int64:
		return new(big.Rat).SetInt64(v), true
	case float64:
		return new(big.Rat).SetFloat64(v), true
	}
	return nil, false
}

func contains(e *evaluation, container, item any) bool {
	switch c := container.(type) {
	case string:
		s, ok := item.(string)
		if !ok {
			refuse("%T in a text", item)
		}
		return strings.Contains(c, s)
	case map[string]any:
		s, ok := item.(string)
		e.lenient = e.lenient || !ok
		_, found := c[s]
		return ok && found
	case []any:
		for _, element := range c {
			if sameKind(element, item) && equal(e, element, item) {
				return true
			}
			if !sameKind(element, item) { // False to Jinja2, True for 1 and True, and refused beside in
				e.lenient = true
				e.unclear = e.unclear || fmt.Sprintf("%T", element) == "bool" || fmt.Sprintf("%T", item) == "bool"
			}
		}
		return false
	case marked:
		e.unclear = true
		return false
	}
	refuse("in %T", container)
	return false
}

func sameKind(a, b any) bool {
	_, isNumber := exact(a)
	_, alsoNumber := exact(b)
	return isNumber && alsoNumber || fmt.Sprintf("%T", a) == fmt.Sprintf("%T", b)
}

func isAbsent(value any) bool {
	_, ok := value.(absent)
	return ok
}
