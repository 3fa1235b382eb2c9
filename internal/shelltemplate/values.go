package shelltemplate

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// values.go owns what Jinja2 does with values: members, truth, order, sums, filters, and how they are printed.

// Texts that a filter has made fit for the shell. To every other filter they are plain texts.
type (
	quoted   string // one word, where quotes quote
	jsonText string // for single quotes
	safe     string // the shell is to read it
)

// loopState is forloop, of which only the attributes are values.
type loopState map[string]any

// member returns an attribute of a map, or an element of a list.
func member(value any, key string, isIndex bool) (found any, exists bool) {
	switch v := value.(type) {
	case unknown:
		return v, true
	case map[string]any:
		found, exists = v[key]
		return found, exists && !isIndex
	case loopState:
		found, exists = v[key]
		return found, exists
	case []any:
		if i, err := strconv.Atoi(key); isIndex && err == nil && i < len(v) && strconv.Itoa(i) == key {
			return v[i], true
		}
	}
	return nil, false
}

// kindOf tells which values can be compared with each other, "" for those that cannot be printed.
func kindOf(value any) string {
	switch value.(type) {
	case bool:
		return "boolean"
	case int64, float64:
		return "number"
	case string, quoted, jsonText, safe:
		return "text"
	}
	return ""
}

// textOf returns how a value is printed: numbers shortest, booleans as Python does.
func textOf(value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return "", errors.New("is NULL, which is no word: write |default:… behind it")
	case bool:
		return map[bool]string{true: "True", false: "False"}[v], nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case int64, string, quoted, jsonText, safe:
		return fmt.Sprint(v), nil
	case []any:
		return "", errors.New("is a list, which has no place in a command: use |join or {% for %}")
	}
	return "", errors.New("is a map, which has no place in a command: name the part of it that is meant")
}

// rat returns the exact value of a number, as it is printed.
func rat(value any) (n *big.Rat, isNumber bool) {
	if kindOf(value) != "number" {
		return nil, false
	}
	digits, _ := textOf(value)
	return new(big.Rat).SetString(digits)
}

func compute(x any, operator string, y any) (any, error) {
	a, isNumber := rat(x)
	b, isToo := rat(y)
	if !isNumber || !isToo {
		if isNumber {
			x = y
		}
		s, err := textOf(x)
		if err == nil {
			err = fmt.Errorf("is %.100q, which is no number: write a number without quotes into the pool's variables, "+
				"or print texts beside each other: {{ a }}{{ b }}", s)
		}
		return nil, fmt.Errorf("what stands beside %s %w", operator, err)
	}
	map[string]func(_, _ *big.Rat) *big.Rat{"+": a.Add, "-": a.Sub, "*": a.Mul}[operator](a, b)
	if a.IsInt() && a.Num().IsInt64() {
		return a.Num().Int64(), nil
	}
	f, _ := a.Float64()
	if exact, _ := rat(f); a.IsInt() || exact == nil || exact.Cmp(a) != 0 {
		return nil, errors.New("the result is beyond 64 bits")
	}
	return f, nil
}

// compare tells whether x operator y holds. Only values of one kind are compared.
func compare(x any, operator string, y any) (bool, error) {
	if operator == "in" {
		return contains(y, x)
	}
	c, err := order(x, y)
	if err == nil && (x == nil || y == nil) && operator != "==" && operator != "!=" {
		err = errors.New("NULL is not smaller or larger than anything: write |default:… behind it")
	}
	holds := map[string]bool{"==": c == 0, "!=": c != 0, "<": c < 0, "<=": c <= 0, ">": c > 0, ">=": c >= 0}
	return holds[operator], err
}

// order is 0 for equal values, and below or above it for a smaller or larger x. NULL only equals itself.
func order(x, y any) (int, error) {
	switch kind := kindOf(x); {
	case x == nil && y == nil:
		return 0, nil
	case x == nil || y == nil:
		return 1, nil
	case kind == "" || kind != kindOf(y):
		return 0, errors.New("only two numbers, two texts or two booleans are compared: " +
			"in the pool's variables a number stands without quotes")
	case kind == "number":
		a, _ := rat(x)
		b, _ := rat(y)
		return a.Cmp(b), nil
	}
	s, _ := textOf(x)
	t, _ := textOf(y)
	return strings.Compare(s, t), nil
}

func contains(in, value any) (bool, error) {
	text, isText := value.(string)
	kind := kindOf(value)
	mixes := func(e any) bool { // Python takes true for 1
		return kind == "number" && kindOf(e) == "boolean" || kind == "boolean" && kindOf(e) == "number"
	}
	equals := func(e any) bool {
		c, err := order(e, value)
		return err == nil && c == 0
	}
	switch v := in.(type) {
	case string:
		if isText {
			return strings.Contains(v, text), nil
		}
	case []any:
		if (value == nil || kind != "") && !slices.ContainsFunc(v, mixes) {
			return slices.ContainsFunc(v, equals), nil
		}
	case map[string]any:
		_, exists := v[text]
		return exists && isText, nil
	}
	return false, errors.New("in looks for a value in a list, a text in a text, or a key in a map")
}

// roundsOf returns, for each round of a loop over the value, the element, or a map's key with its value.
func roundsOf(value any, two, sorted bool) (rounds [][2]any, err error) {
	object, isMap := value.(map[string]any)
	all, isSequence := elements(value)
	switch {
	case isMap && !sorted:
		return nil, errors.New("write {% for KEY, VALUE in MAP sorted %}, so that the command is the same each time")
	case !isSequence:
		return nil, errors.New("there is nothing to loop over: it is neither a list, a map nor a text")
	case two && !isMap:
		return nil, errors.New("a second name takes a map")
	case sorted:
		all = slices.SortedStableFunc(slices.Values(all), func(x, y any) int {
			c, orderErr := order(x, y)
			if orderErr != nil || x == nil || y == nil {
				err = errors.New("only numbers or only texts can be sorted")
			}
			return c
		})
	}
	for _, e := range all {
		key, _ := e.(string)
		rounds = append(rounds, [2]any{e, object[key]})
	}
	return rounds, err
}

// elements returns the elements of a list, the characters of a text, or the keys of a map.
func elements(value any) (all []any, isSequence bool) {
	switch v := value.(type) {
	case []any:
		return v, true
	case map[string]any:
		for key := range v {
			all = append(all, key)
		}
		return all, true
	}
	if kindOf(value) != "text" {
		return nil, false
	}
	text, _ := textOf(value)
	for _, r := range text {
		all = append(all, string(r))
	}
	return all, true
}

// cost is in the unit of stepLimit.
func cost(value any) int {
	if list, isList := value.([]any); isList {
		return len(list)
	}
	s, _ := textOf(value)
	return len(s) / 32
}

type filter struct {
	argument, replacesMissing bool
	apply                     func(in, argument any) (any, error)
}

var filters = map[string]filter{
	"cut":             {argument: true, apply: cut},
	"default":         {true, true, orDefault},
	"default_if_none": {true, true, orDefault},
	"first":           {apply: func(in, _ any) (any, error) { return element(in, false) }},
	"floatformat":     {argument: true, apply: floatformat},
	"join":            {argument: true, apply: join},
	"json":            {apply: asJSON},
	"last":            {apply: func(in, _ any) (any, error) { return element(in, true) }},
	"length":          {apply: length},
	"lower":           {apply: onText(func(s string) any { return cases.Lower(language.Und).String(s) })},
	"quote":           {apply: func(in, _ any) (any, error) { return onText(quote)(orDefault(in, "")) }},
	"safe":            {apply: onText(func(s string) any { return safe(s) })},
	"upper":           {apply: onText(func(s string) any { return cases.Upper(language.Und).String(s) })},
	"urlencode":       {apply: onText(func(s string) any { return pathEscapes.Replace(url.QueryEscape(s)) })},
}

var pathEscapes = strings.NewReplacer("+", "%20", "%2F", "/")

func onText(f func(string) any) func(in, _ any) (any, error) {
	return func(in, _ any) (any, error) {
		s, err := textOf(in)
		if err != nil {
			return nil, err
		}
		return f(s), nil
	}
}

func cut(in, part any) (any, error) {
	s, err := textOf(in)
	removed, partErr := textOf(part)
	return strings.ReplaceAll(s, removed, ""), errors.Join(err, partErr)
}

func orDefault(in, argument any) (any, error) {
	if in == nil {
		return argument, nil
	}
	return in, nil
}

func quote(s string) any { return quoted("'" + strings.ReplaceAll(s, "'", `'\''`) + "'") }

func element(in any, last bool) (any, error) {
	all, _ := elements(in)
	if _, isMap := in.(map[string]any); isMap || len(all) == 0 {
		return nil, errors.New("it takes a list or a text that is not empty")
	} else if last {
		return all[len(all)-1], nil
	}
	return all[0], nil
}

func length(in, _ any) (any, error) {
	all, isSequence := elements(in)
	if !isSequence {
		return nil, errors.New("it takes a list, a map or a text")
	}
	return int64(len(all)), nil
}

// floatformat rounds as Python does: a half goes to the even neighbour.
func floatformat(in, decimals any) (any, error) {
	n, isNumber := rat(in)
	places, isWhole := decimals.(int64)
	if !isNumber || !isWhole || places < 0 || places > 17 {
		return nil, errors.New("it takes a number, and how many decimals to print, 0 to 17: floatformat:2")
	}
	if n.IsInt() {
		return n.FloatString(int(places)), nil
	}
	return strconv.FormatFloat(in.(float64), 'f', int(places), 64), nil
}

func join(in, separator any) (any, error) {
	list, isList := in.([]any)
	between, isText := separator.(string)
	if !isList || !isText {
		return nil, errors.New(`it takes a list, and a text between its elements: join:","`)
	}
	parts := make([]string, len(list))
	for i := range list {
		var err error
		if parts[i], err = textOf(list[i]); err != nil {
			return nil, fmt.Errorf("an element of the list %w", err)
		}
	}
	return strings.Join(parts, between), nil
}

var jsonString = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`"(\\.|[^"\\])*"`) })

// asJSON returns JSON that is safe between single quotes: no character in its texts means anything to a shell.
func asJSON(in, _ any) (any, error) {
	if _, isLoop := in.(loopState); isLoop {
		return nil, errors.New("it takes no forloop, but its attributes")
	}
	encoded, err := json.Marshal(in)
	return jsonText(jsonString().ReplaceAllStringFunc(string(encoded), func(text string) string {
		json.Unmarshal([]byte(text), &text)
		escaped := []byte{'"'}
		for _, r := range text {
			if isLetterOrDigit(r) || strings.ContainsRune(" _-.,:/", r) {
				escaped = utf8.AppendRune(escaped, r)
				continue
			}
			for _, unit := range utf16.AppendRune(nil, r) {
				escaped = fmt.Appendf(escaped, `\u%04x`, unit)
			}
		}
		return string(append(escaped, '"'))
	})), err
}

// printed returns a value as it gets into the command, or an error that begins with "is".
func printed(value any) (string, kind, error) {
	s, err := textOf(value)
	switch value.(type) {
	case safe:
		return s, asWritten, err
	case quoted:
		return s, quotedWord, err
	case jsonText:
		return s, jsonWord, err
	case int64, float64:
		return s, number, err
	}
	if !plainWord(s) {
		return s, refused, err
	}
	return s, word, err
}

// plainWord tells whether every shell takes s as one word, and no program as an option.
func plainWord(s string) bool {
	return s != "" && s[0] != '-' && !strings.ContainsFunc(s, func(r rune) bool {
		return !(isLetterOrDigit(r) || unicode.IsMark(r) && !invisible(r) || strings.ContainsRune("_@%+=:,./-", r))
	})
}

func isLetterOrDigit(r rune) bool {
	return (unicode.IsLetter(r) || unicode.IsDigit(r)) && !invisible(r)
}

// invisible tells of letters and marks that nobody sees, such as U+3164.
func invisible(r rune) bool {
	return unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}
