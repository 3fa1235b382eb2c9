package shelltemplate

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"mvdan.cc/sh/v3/syntax"
)

// sampleValues are a pool's with a bit of everything.
func sampleValues() map[string]any {
	pool := map[string]any{"name": "Bob's Pool", "multiplier": 1.5, "running_weight": 3.0, "planner": nil,
		"build_latest": false, "autoscaling_enabled": true, "last_autoscaled": time.Date(2026, 11, 22, 12, 0, 0, 0,
			time.UTC), "sudo_user": "-rf"}
	return map[string]any{"worker_pool": pool, "worker": pool, "size": int64(10), "queued_size": int64(4),
		"queued": int64(4), "running": int64(2), "previous_size": nil, "variables": map[string]any{
			"region": "eu-west-1", "zones": []any{"a", "b"}, "disks": []any{map[string]any{"size": int64(10)},
				map[string]any{"size": int64(20)}},
			"half": 0.5, "halves": []any{0.5, 1.5}, "count": "3", "factor": "1.5", "giant": int64(100000000000),
			"big": "12345678901234567890",
			"odd": "a b", "none": nil, "none_list": []any{}, "path": "a b/c", "sizes": []any{int64(30),
				int64(2), int64(10)},
			"mixed": []any{int64(1), "a"}, "tenth": 0.1, "fifth": 0.2, "street": "straße", "sigma": "ὈΔΥΣΣΕΎΣ",
			"in": "keyword", "plain": "Größe-名前_ñ.हिन्दी/ไทย:e\u0301@1%+=,",
			"delimiter": "EOF", "delimiters": []any{"a", "EOF"}, "e": "E", "of": "OF", "name": "VESPENE_POOL",
			"octal":     "010",
			"injection": "; touch P #", "evil": "a[$(touch P)]", "mark": "\"",
			"then": "then", "assignment": "A=b", "comma": "b,c", "filler": "a\u3164", "override": "a\u202eb",
			"selector": "a\ufe0f", "empty": "", "crlf": "x\r\ny", "bell": "\u0007", "n": int64(3), "my-key": "k",
			"tags": map[string]any{"team": "ci", "tier": "gold"}}}
}

var sampleEnvironment = map[string]string{"worker_pool.name": "VESPENE_POOL"}

func renderCommand(t testing.TB, template string) (string, error) {
	t.Helper()
	command, err := Render(template, sampleValues(), sampleEnvironment)
	return command.Line, err
}

// rows returns the pairs of texts in a file of testdata.
func rows(t *testing.T, file string) (pairs [][2]string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		template, want, _ := strings.Cut(line, "\t")
		a, err := strconv.Unquote(template)
		b, errToo := strconv.Unquote(want)
		if err := errors.Join(err, errToo); err != nil {
			t.Fatalf("%s: %s: %v", file, line, err)
		}
		pairs = append(pairs, [2]string{a, b})
	}
	if len(pairs) < 40 {
		t.Fatalf("%s has %d rows", file, len(pairs))
	}
	return pairs
}

func TestAccepted(t *testing.T) {
	for _, row := range rows(t, "accepted.txt") {
		if got, err := renderCommand(t, row[0]); err != nil || got != row[1] {
			t.Errorf("%s: %q, %v; want %q", row[0], got, err, row[1])
		}
	}
}

// TestRefused: nothing that is in doubt becomes a command, and the error says what it is and what to write instead.
func TestRefused(t *testing.T) {
	for _, row := range rows(t, "refused.txt") {
		if got, err := renderCommand(t, row[0]); err == nil {
			t.Errorf("%.80q: renders to %.80q, want an error", row[0], got)
		} else if !strings.Contains(err.Error(), row[1]) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.80q: error %q, want %q in it", row[0], err, row[1])
		}
	}
}

// TestCommands: commands as people write them are what they mean, or are refused with what to write instead.
func TestCommands(t *testing.T) {
	pool := map[string]any{"id": int64(7), "name": "Linux, large"}
	values := map[string]any{"worker_pool": pool, "worker": pool, "size": int64(5), "queued_size": int64(3),
		"queued": int64(3), "running": int64(2), "previous_size": nil, "variables": map[string]any{"plan": "ci-linux",
			"group": "ci-linux", "region": "eu-central-1", "image": "ami-1", "type": "cx22",
			"host": "scale.example.com", "hosts": []any{"a.example.com", "b.example.com"}, "per": int64(2),
			"regions": []any{"eu", "us"}, "tags": map[string]any{"team": "ci", "tier": "gold"}}}
	for _, row := range rows(t, "commands.txt") {
		c, err := Render(row[0], values, sampleEnvironment)
		if sentence, refused := strings.CutPrefix(row[1], "refused: "); refused {
			if err == nil || !strings.Contains(err.Error(), sentence) {
				t.Errorf("%s: %q, %v; want %q in the error", row[0], c.Line, err, sentence)
			}
		} else if err != nil || c.Line != row[1] {
			t.Errorf("%s: %q, %v; want %q", row[0], c.Line, err, row[1])
		}
	}
}

// TestManual: the manual's tables say what is so: Jinja2's ways are refused, what stands beside them is accepted, and
// each filter's example has the result that it shows.
func TestManual(t *testing.T) {
	content, err := os.ReadFile("../../docs/autoscaling.md")
	if err != nil {
		t.Fatal(err)
	}
	_, manual, _ := strings.Cut(string(content), "These are the filters.")
	filterTable, manual, _ := strings.Cut(manual, "### Written for Jinja2")
	jinja, _, _ := strings.Cut(manual, "### Values and the shell")
	values := sampleValues()
	values["worker_pool"].(map[string]any)["name"] = "web"
	maps.Copy(values["variables"].(map[string]any), map[string]any{"comment": "it's", "flags": "-x -y"})
	code := func(cell string) (spans []string) {
		for _, match := range regexp.MustCompile("`([^`]*)`").FindAllStringSubmatch(strings.ReplaceAll(cell, `\|`, "|"),
			-1) {
			if strings.Contains(match[1], "{{") || strings.Contains(match[1], "{%") {
				spans = append(spans, match[1])
			}
		}
		return spans
	}
	examples, habits := 0, 0
	for line := range strings.Lines(filterTable) {
		cells := regexp.MustCompile(` \| `).Split(line, -1)
		if len(cells) < 3 || len(code(cells[1])) != 1 {
			continue
		}
		examples++
		c, err := Render("x"+code(cells[1])[0], values, nil)
		want := regexp.MustCompile("`([^`]+)`").FindStringSubmatch(cells[2])
		if err != nil || want != nil && c.Line != "x"+want[1] {
			t.Errorf("%s: %q, %v; want %q", cells[1], c.Line, err, want)
		}
	}
	for line := range strings.Lines(jinja) {
		cells := regexp.MustCompile(` \| `).Split(line, -1)
		if len(cells) != 2 {
			continue
		}
		for _, habit := range code(cells[0]) {
			habits++
			if c, err := Render("x"+habit, values, nil); err == nil {
				t.Errorf("%s renders to %q", habit, c.Line)
			}
		}
		for _, better := range code(cells[1]) {
			if _, err := Render("x; "+better, values, nil); err != nil {
				t.Errorf("%s: %v", better, err)
			}
		}
	}
	if examples < 11 || habits < 25 {
		t.Errorf("found %d examples and %d habits", examples, habits)
	}
}

// TestLimits: what is too much is an error, and said before it takes all memory or for ever.
func TestLimits(t *testing.T) {
	values := map[string]any{"size": int64(5), "text": strings.Repeat("é", 9000), "long": strings.Repeat("x", 70_000),
		"w": "w", "huge": strings.Repeat("ab", 4<<20)}
	list := make([]any, 90)
	for i := range list {
		list[i] = "x"
	}
	values["list"], values["numbers"] = list, []any{int64(1), int64(2)}
	each := func(body string) string {
		return "echo {% for a in list %}{% for b in list %}" + body + "{% endfor %}{% endfor %}"
	}
	for _, test := range []struct{ template, want string }{
		{strings.Repeat("x", 16<<10+1), "it is longer than 16384 bytes"},
		{strings.Repeat("{{w}}", 1400), "more than 4000 words and symbols"},
		{strings.Repeat("{% if size %}", 21) + "x" + strings.Repeat("{% endif %}", 21),
			"more than 20 tags are inside each other"},
		{"{{ w" + strings.Repeat("|lower", 11) + " }}", "more than 10 filters"},
		{each("{% for c in numbers %}{% endfor %}"), "its loops go round more than 10000 times"},
		{each(strings.Repeat("{{ a }}", 900)), "it takes more than 200000 steps"},
		{each("{% if text|upper|lower|upper|lower == w %}x{% endif %}"), "it takes more than 200000 steps"},
		{"{% for c in huge %}x{% endfor %}", "it takes more than 200000 steps"},
		{"{% if huge|upper|lower|quote|length == 1 %}x{% endif %}", "it takes more than 200000 steps"},
		{"echo {{ long|quote }}{{ long|quote }}", "it makes the command longer than 131071 bytes"},
		{each(strings.Repeat("y", 500)), "it makes the command longer than 131071 bytes"},
		{each("x ") + "{{ w }}" + strings.Repeat(" x", 4000), "it renders to more than 10000 words"},
		{strings.Repeat("(", 5000) + "{{ w }}", "it renders to more than 10000 words"},
	} {
		if _, err := Render(test.template, values, nil); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.60s: error %v, want %q", test.template, err, test.want)
		}
	}
	// The last of 8,100 values is the culprit, which is not looked for one by one.
	_, err := Render(each("{{ b }} ")+"{a,{{ comma }}}", map[string]any{"list": list, "comma": "b,c"}, nil)
	if err == nil || !strings.Contains(err.Error(), "for syntax there") {
		t.Error(err)
	}
	if c, err := Render("echo "+strings.Repeat("{% if size %}", 20)+"x"+strings.Repeat("{% endif %}", 20), values,
		nil); err != nil || c.Line != "echo x" {
		t.Errorf("%q, %v", c.Line, err)
	}
}

// TestNames: a command tells which of the values it uses, also in a branch that is not taken.
func TestNames(t *testing.T) {
	c, err := Render(`x {% if size > 99 %}{{ queued_size }}{% endif %}{% for z in variables.zones %}{{ z }}{% with `+
		`s=running %}{{ s }}{% endwith %}`+
		`{% endfor %}{{ nope|default:variables["my-key"] }}`, sampleValues(), nil)
	want := []string{"queued_size", "running", "size", "variables.my-key", "variables.zones"}
	if err != nil || !slices.Equal(c.Names, want) {
		t.Errorf("%q, %v; want %q", c.Names, err, want)
	}
}

func TestPlainWord(t *testing.T) {
	for word, want := range map[string]bool{"": false, "a-b": true, "x=1,2": true, "a/b.c:d@e%f+g_h": true, "-x": false,
		"a b": false, "a'": false, "$x": false, "~": false, "a*": false, "ü": true, "a\n": false,
		"#": false, "!": false, "{a,b}": false, "[a]": false, "a;b": false, "a|b": false, "<": false} {
		if got := plainWord(word); got != want {
			t.Errorf("plainWord(%q) is %v, want %v", word, got, want)
		}
	}
}

// FuzzRender: whatever the template and the values are, the result is an error, or a command in
// which every string that no filter vouched for is free of shell syntax. The strings hold a character, ¬, that is no
// part of a plain word: into a command whose template has neither it nor |safe, it gets only between single quotes that
// quote.
func FuzzRender(f *testing.F) {
	f.Fuzz(func(t *testing.T, template, name, variables string) {
		values := sampleValues()
		object := map[string]any{}
		if json.Unmarshal([]byte(variables), &object) == nil {
			values["variables"] = object
		}
		values["worker_pool"].(map[string]any)["name"] = name + "¬"
		c, err := Render(template, values, sampleEnvironment)
		line := c.Line
		if err != nil {
			if strings.Contains(err.Error(), "cannot be read") || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q, name %q, variables %q: %v", template, name, variables, err)
			}
			return
		}
		for _, r := range line {
			if unicode.IsControl(r) && r != '\t' && r != '\n' {
				t.Fatalf("%q holds a control character", line)
			}
		}
		if strings.Contains(template, "safe") || strings.Contains(template, "¬") || !strings.Contains(line, "¬") {
			return
		}
		file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(line), "")
		if err != nil {
			t.Fatalf("%q, name %q, variables %q: %q is no valid shell: %v", template, name, variables, line, err)
		}
		quoted := 0
		syntax.Walk(file, func(node syntax.Node) bool {
			if q, ok := node.(*syntax.SglQuoted); ok {
				quoted += strings.Count(q.Value, "¬")
			}
			return true
		})
		if quoted != strings.Count(line, "¬") {
			t.Fatalf("%q, name %q, variables %q: renders to %q", template, name, variables, line)
		}
	})
}
