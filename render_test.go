package main

import (
	"math"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode"

	"mvdan.cc/sh/v3/syntax"
)

// renderPool is a pool with a bit of everything in its columns and variables.
func renderPool(command string) pool {
	return testPool(map[string]any{
		"name": "Bob's Pool", "executor_command": command, "multiplier": 1.5, "running_weight": 3.0,
		"last_autoscaled": time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), "sudo_user": "-rf",
		"variables": `{"region": "eu-west-1", "zones": ["a", "b"], "disks": [{"size": 10}, {"size": 20}], "half": 0.5, "halves": [0.5, 1.5], "count": "3", "factor": "1.5", "giant": 100000000000,
			"big": 12345678901234567890, "odd": "a b", "none": null, "crlf": "x\r\ny", "bell": "\u0007", "tags": {"team": "ci", "tier": "gold"}}`,
	})
}

func renderCommand(t testing.TB, command string) (string, error) {
	t.Helper()
	p := renderPool(command)
	p.name = "Bob's Pool"
	p.queuedBuilds, p.running = 4, 2
	return render(p, planOf(t, p), nil)
}

func TestRender(t *testing.T) {
	for template, want := range map[string]string{
		"echo {{ size }} {{ queued_size }} {{ queued }} {{ running }}":                                           "echo 10 4 4 2",
		"echo {{ previous_size }}.":                                                                              "echo .",
		"echo {{ worker_pool.multiplier }} {{ worker.running_weight }}":                                          "echo 1.5 3",
		"echo {{ worker_pool.build_latest }} {{ worker_pool.autoscaling_enabled }}":                              "echo False True",
		"echo {{ worker_pool.planner }}.":                                                                        "echo .",
		"echo {{ worker_pool.last_autoscaled }}":                                                                 "echo 2026-11-22T12:00:00Z",
		`echo {{ worker_pool.last_autoscaled|date:"15:04" }}`:                                                    "echo 12:00",
		"echo {{ variables.region }} {{ variables['region'] }} {{ variables.zones.1 }} {{ variables.zones[0] }}": "echo eu-west-1 eu-west-1 b a",
		"echo {{ variables.half }} {{ variables.big }} {{ variables.none }}":                                     "echo 0.5 12345678901234567890 ",
		"echo {{ worker_pool.name|quote }}":                                                                      `echo 'Bob'\''s Pool'`,
		"echo x\"y\"{{ worker_pool.name|quote }}":                                                                `echo x"y"'Bob'\''s Pool'`,
		"echo it\\'s {{ worker_pool.name|quote }} # don't\nx":                                                    "echo it\\'s 'Bob'\\''s Pool' # don't\nx",
		"echo \"{{ worker_pool.name|safe }}\"":                                                                   `echo "Bob's Pool"`,
		"{% with q=worker_pool.name|quote %}echo {{ q }}{% endwith %}":                                           `echo 'Bob'\''s Pool'`,
		`echo "$VESPENE_POOL" $# {{ worker_pool.name|cut:"'"|cut:" " }}`:                                         `echo "$VESPENE_POOL" $# BobsPool`,
		"echo {{ nope|default:7 }} {{ worker_pool.nope|default:\"x\" }} {{ variables.a.b|default_if_none:1 }}":   "echo 7 x 1",
		"{% with n=size * 0.125 %}echo {{ n|floatformat:1 }}{% endwith %}":                                       "echo 1.2",
		"echo {{ size * 0.25 }} {{ size / 4 }} {{ size - 12 }}":                                                  "echo 2.5 2 -2",
		"{% if size > 5 %}big{% elif size > 2 %}middle{% else %}small{% endif %}":                                "big",
		"{% for z in variables.zones %}{{ forloop.Counter }}{{ z }} {% endfor %}":                                "1a 2b ",
		"{% for d in variables.disks %}--disk={{ d.size }} {% endfor %}x":                                        "--disk=10 --disk=20 x",
		"{% for k, v in variables.tags sorted %}{{ k }}={{ v }} {% endfor %}":                                    "team=ci tier=gold ",
		"{% for z in variables.zones reversed %}{{ z }}{% endfor %}":                                             "ba",
		`{% for z in "c,d"|split:"," %}{{ z }}{% empty %}none{% endfor %}`:                                       "cd",
		"{% set n = size + 1 %}echo {{ n }}":                                                                     "echo 11",
		"{% if size > 5 %}{% set n = 1 %}{% else %}{% set n = 2 %}{% endif %}{{ n }}":                            "1",
		"{% with n=size m=queued %}{{ n }} {{ m }}{% endwith %}":                                                 "10 4",
		"{% with size as n %}{{ n }}{% endwith %}":                                                               "10",
		"{% comment %}{{ nope }} {% ssi x %}{% endcomment %}x":                                                   "x",
		"{# {{ nope }} #}x":                         "x",
		"{% verbatim %}{{ nope }}{% endverbatim %}": "{{ nope }}",
		"a\r\nb {{ size }}\r\nc":                    "a\nb 10\nc",
		"echo {{- size -}} x":                       "echo10x",
		"echo {{ variables.zones|join:\",\" }} {{ variables.zones|length }}": "echo a,b 2",
		"echo {{ variables.crlf|quote }}":                                    "echo 'x\ny'",
		"ü {{ size }} ü {{ queued }}":                                        "ü 10 ü 4",
		"echo {% if variables.nope|default:false %}x{% endif %}y":            "echo y",
		`echo {{ "a%}b"|cut:"%}" }}`:                                         "echo ab",

		// Numbers are printed shortest wherever they become text.
		"echo {{ \"n\" + worker_pool.multiplier }} {{ worker_pool.multiplier + \"n\" }}":                                                                                       "echo n1.5 1.5n",
		"echo {{ worker_pool.multiplier|add:\"x\" }} {{ \"x\"|add:variables.half }}":                                                                                           "echo 1.5x x0.5",
		"echo {{ variables.halves|join:\"-\" }} {{ variables.half|quote }}":                                                                                                    "echo 0.5-1.5 '0.5'",
		"echo {{ worker_pool.multiplier|upper }}{{ size|rjust:3|cut:\" \" }}":                                                                                                  "echo 1.510",
		"{% if worker_pool.multiplier == 1.5 and variables.half + 1 >= 1.5 %}x{% endif %}":                                                                                     "x",
		"{% with a=size + 1 b=worker_pool.multiplier * 2 %}{{ a }} {{ b }}{% endwith %}":                                                                                       "11 3",
		"{{ (size + 1) * 2 - queued }} {{ -size + 1 }} {{ 2^3 }}":                                                                                                              "18 -9 8",
		"{{ previous_size + 1 }} {{ size - previous_size }}":                                                                                                                   "1 10",
		"{{ variables.count * 2 }} {{ variables.count|integer }}":                                                                                                              "6 3",
		"{% for z in variables.zones -%}  {{ z }}\n{%- endfor %}":                                                                                                              "ab",
		"{% for a in variables.zones %}{% for b in variables.zones %}{{ a }}{{ b }}{% if forloop.First %}{{ forloop.Parentloop.Counter }}{% endif %} {% endfor %}{% endfor %}": "aa1 ab ba2 bb ",
		"{% set region = variables.region %}{{ region }}":                                                                                                                      "eu-west-1",

		"{{ variables.factor * 2 }} {{ size * variables.factor }} {{ size - \"0.5\" }} {{ variables.factor|integer }}":                                       "3 15 9.5 1",
		"{{ 10 % 4 }} {{ (size + 1) * (queued - 2) }} {{ 2 * (size - 1) }} {{ (size) + 1 }}":                                                                 "2 22 18 11",
		"{% if worker_pool.running_weight == 3 %}a{% endif %}{% if variables.half != 0.5 %}b{% endif %}{% if size >= 9.5 and not (size > 99) %}c{% endif %}": "ac",
		"{% if not size %}a{% elif not (size == 3) and (queued > 1 or running > 5) %}b{% endif %}":                                                           "b",
		"{% if variables.count > 2 and variables.region == \"eu-west-1\" and \"a\" in variables.zones %}x{% endif %}":                                        "x",
		"{% with n=size * 0.5 %}{% if n == 5 %}x{% endif %}{% endwith %}{% if size % 2 == 0 %}y{% endif %}":                                                  "xy",
		"{{ size|add:\"-1\" }} {{ variables.count|add:1 }}":                                                                                                  "9 4",
		"{% if previous_size > size %}down{% else %}up{% endif %}":                                                                                           "up",
		"{% if true %}{{ true|yesno:\"a,b\" }}{% endif %} {{ size|get_digit:1 }}":                                                                            "a 0",
		"{% for c in \"size\" %}{{ c }}.{% endfor %}":                                                                                                        "s.i.z.e.",
		"{% with t=variables.tags %}{% for k in t sorted %}{{ k }} {% endfor %}{% endwith %}":                                                                "team tier ",
		"echo {{ worker_pool.name|quote|safe }}":                                                                                                             `echo 'Bob'\''s Pool'`,

		// What quotes what is the shell's own grammar.
		`a=(1 2); echo {{ worker_pool.name|quote }} &>x; [[ 1 =~ (a|b) ]]`: `a=(1 2); echo 'Bob'\''s Pool' &>x; [[ 1 =~ (a|b) ]]`,
		`echo "$(echo {{ worker_pool.name|quote }})"`:                      `echo "$(echo 'Bob'\''s Pool')"`,
		"echo $((1<<2)) {{ worker_pool.name|quote }}":                      `echo $((1<<2)) 'Bob'\''s Pool'`,
		"cat <<E\n'\nE\necho {{ worker_pool.name|quote }}":                 "cat <<E\n'\nE\necho 'Bob'\\''s Pool'",
		"x={{ variables.odd|quote }} >{{ variables.odd|quote }}":           "x='a b' >'a b'",
		`case x in a) echo {{ variables.odd|quote }};; esac`:               `case x in a) echo 'a b';; esac`,
	} {
		got, err := renderCommand(t, template)
		if err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", template, got, err, want)
		}
	}
}

func TestRenderPreviousSize(t *testing.T) {
	p, size := testPool(map[string]any{"executor_command": "echo {{ previous_size }}"}), int64(3)
	if got, err := render(p, planOf(t, p), &size); got != "echo 3" || err != nil {
		t.Errorf("%q, %v; want echo 3", got, err)
	}
}

// TestRefusedTemplates: nothing that is in doubt becomes a command, and the error says what it is and where.
func TestRefusedTemplates(t *testing.T) {
	for template, want := range map[string]string{
		"{{ nope }}":                                     `line 1 column 4 near "nope": there is no such name`,
		"a\nb {{ worker_pool.nope }}":                    `line 2 column 18 near "nope": there is no such attribute`,
		"{{ variables.nope }}":                           "no such attribute",
		"{{ variables.region.nope }}":                    "no such attribute",
		"{{ variables.zones.2 }}":                        "no such attribute or element",
		"{{ variables.none.x }}":                         "no such attribute",
		"{{ size.String }}":                              "no such attribute",
		"{{ worker_pool.last_autoscaled.Unix }}":         "no such attribute",
		"{{ nope|upper }}":                               "there is no such name",
		"{{ size|default:nope }}":                        "there is no such name",
		"{% if nope %}x{% endif %}":                      "there is no such name",
		"{% if false %}{{ nope }}{% endif %}":            "there is no such name",
		"{% if size > 99 %}a{% elif nope %}b{% endif %}": "there is no such name",
		"{% if size %}{% set n = 1 %}{% endif %}{{ n }}": "there is no such name",
		"{% if size %}{% set n = 1 %}{% elif size %}{% set m = 1 %}{% else %}{% set n = 1 %}{% endif %}{{ n }}": "there is no such name",
		"{% for z in variables.zones %}x{% endfor %}{{ z }}":                                                    "there is no such name",
		"{% for z in variables.zones %}x{% empty %}{{ z }}{% endfor %}":                                         "there is no such name",
		"{% for d in variables.disks %}{{ d.nope }}{% endfor %}":                                                "no such attribute",
		"{% for i in range(3) %}x{% endfor %}":                                                                  `near "range": there`,
		"{{ size(3) }}":                                                                                         "there are no functions",
		"{% for i in size %}x{% endfor %}":                                                                      "nothing to loop over",
		"{% for k, v in variables.zones %}{{ v }}{% endfor %}":                                                  "a second name takes a map",
		"{% for i in variables.zones sorted x %}{% endfor %}":                                                   "there is no such name",
		"{% for k, v in variables.tags %}{{ v }}{% endfor %}":                                                   "so that the command is the same each time",
		"{{ forloop.Counter }}":                                                                                 "there is no such name",
		"{% for z in variables.zones %}{{ forloop.counter }}{% endfor %}":                                       "no such attribute",
		"{% with d=variables.tags %}{{ d.team }}{% endwith %}":                                                  "made by with or set have no attributes",
		"{% set d = variables.tags %}{{ d.team }}":                                                              "made by with or set have no attributes",
		"{% set q = worker_pool.name|quote %}{{ q.0 }}":                                                         "made by with or set have no attributes",
		"{{ variables[worker_pool.name] }}":                                                                     "only one text or number may stand in brackets",
		"{{ pongo2.version }}":                                                                                  "there is no such name",
		"{{ vespene_rendering }}":                                                                               "there is no such name",

		`{% ssi "/etc/passwd" %}`:                                       "this tag is not allowed; those are: if, for, with, set, comment, verbatim",
		`{% include "/etc/passwd" %}`:                                   "this tag is not allowed",
		"{% autoescape off %}{{ worker_pool.name }}{% endautoescape %}": "this tag is not allowed",
		"{% cycle worker_pool.name %}":                                  "this tag is not allowed",
		"{% firstof worker_pool.name %}":                                "this tag is not allowed",
		"{% filter upper %}x{% endfilter %}":                            "this tag is not allowed",
		"{% now \"2006\" %}":                                            "this tag is not allowed",
		"{% vespene_print 0 worker_pool.name %}":                        "this tag is not allowed",
		"{% vespene_lex %}":                                             "this tag is not allowed",
		"{% endif %}":                                                   "no if that it could belong to",
		"{% for z in variables.zones %}{% endif %}{% endfor %}":         "no if that it could belong to",
		"{% if size %}":                                                 "Unexpected EOF",
		"{% %}":                                                         "Tag name must be an identifier",
		"{% comment %}{% endcomment x %}":                               "endcomment takes no arguments", // the engine would hang
		"{% comment %}":                                                 "Unexpected EOF",
		"{% set n %}":                                                   "write {% set NAME = VALUE %}",
		"{{ size":                                                       "is not closed",
		"{{ size ~ 1 }}":                                                "is not closed, or holds what means nothing there",
		"{{ size %}":                                                    "is not closed",
		"{{ }}":                                                         "line 1",
		"{{ size|default(1) }}":                                         "line 1",
		"{{ (size * 0.25)|floatformat:1 }}":                             "a filter follows a name, not a bracket",
		"${#x}":                                                         "line 1 column 2: Single-line comment not closed",
		"{{ 1 if size else 2 }}":                                        "line 1",
		"{{ size|tojson }}":                                             "Filter 'tojson' does not exist",
		"{{ \"a }}":                                                     "line 1 column",
		"{% raw %}{% endraw %}":                                         "this tag is not allowed",

		"echo {{ worker_pool.name }}":                             `{{ worker_pool.name }} is "Bob's Pool", which a shell would not take as one plain word: write "$VESPENE_POOL" for the pool's name, else add |quote, or |safe`,
		"echo '{{ worker_pool.name|quote }}'":                     `{{ worker_pool.name|quote }} is quoted, but how the shell reads the command cannot be told (1:22: reached EOF without closing quote`,
		"echo \"{{ worker_pool.name|quote }}\"":                   "is quoted, but stands inside quotes",
		"echo `echo {{ worker_pool.name|quote }}`":                "is quoted, but stands inside",
		"# {{ worker_pool.name|quote }}":                          "is quoted, but stands inside",
		"cat <<E\n{{ worker_pool.name|quote }}\nE":                "is quoted, but",
		"echo \\{{ worker_pool.name|quote }}":                     "is quoted, but",
		"echo {{ worker_pool.name|quote|upper }}":                 "not take as one plain word",
		"echo {{ worker_pool.sudo_user }}":                        `is "-rf"`,
		"echo {{ variables.odd }}":                                `is "a b"`,
		"echo {{ worker_pool.name + 1 }}":                         "not take as one plain word",
		"echo {{ size + worker_pool.name|safe }}":                 "not take as one plain word",
		"echo {{ worker_pool.name|truncatechars_html:99 }}":       "not take as one plain word",
		"echo {{ worker_pool.name|urlize }}":                      "not take as one plain word",
		"{% with n=worker_pool.name|safe %}{{ n }}{% endwith %}":  "not take as one plain word",
		"{% for c in worker_pool.name %}{{ c }}{% endfor %}":      `is "'"`,
		"echo {{ variables.zones }}":                              "is a list, which has no place in a command",
		"echo {{ variables.zones|safe }}":                         "is a list",
		"echo {{ variables.zones|quote }}":                        "is a list",
		"echo {{ worker_pool.name|make_list }}":                   "is a list",
		`echo {{ "a,b"|split:"," }}`:                              "is a list",
		"echo {{ variables }}":                                    "is a map",
		"echo {{ worker_pool }}":                                  "is a map",
		"{% for z in variables.zones %}{{ forloop }}{% endfor %}": "is a ptr",

		// default excuses what it stands behind, and nothing else.
		"{{ size|add:nope|default:1 }}":           "there is no such name",
		"{{ size|add:variables.nope|default:1 }}": "there is no such attribute",
		"{{ nope|upper|default:1 }}":              "there is no such name",
		// What was set where it may not be run, or not yet, has no known attributes.
		"{% if size %}{% set variables = variables.tags %}{% endif %}{{ variables.region }}":                                                                                          "made by with or set",
		"{% for z in variables.zones %}{{ variables.region }}{% set variables = z %}{% endfor %}":                                                                                     "made by with or set",
		"{% for z in variables.zones %}{% if size %}{% set variables = z %}{% endif %}{% endfor %}{% for z in variables.zones %}{{ variables.a }}{% set variables = 1 %}{% endfor %}": "made by with or set",

		// Lists and maps, by whatever filter they come; and what is no number, where one is needed.
		"echo {{ variables.zones|upper|quote }}":              "what |upper is given is a list",
		"echo {{ variables.zones|lower }}":                    "is a list",
		"echo {{ variables.tags|lower|quote }}":               "is a map",
		`echo {{ variables.zones|stringformat:"%v"|quote }}`:  "is a list",
		`echo {{ variables.disks|join:","|quote }}`:           "what |join is given is a map",
		`echo {{ size|add:variables.zones }}`:                 "is a list",
		`echo {{ "x" + variables.zones|safe }}`:               "is a list",
		`echo {{ size * variables.zones }}`:                   "is a list",
		`echo {{ nope|default:variables.zones }}`:             "is a list",
		`echo {{ variables.region * 2 }}`:                     `what stands beside * is "eu-west-1", which is no number`,
		`echo {{ size - variables.region }}`:                  "which is no number",
		`echo {{ variables.region|integer }}`:                 `what |integer is given is "eu-west-1", which is no number`,
		`echo {{ variables.region|float }}`:                   "which is no number",
		`echo {{ variables.region|stringformat:"%d"|quote }}`: "|stringformat gives",
		`echo {{ size|vespene_upper }}`:                       "there is no filter vespene_upper",

		// What the engine would make a guess of.
		"{{ size * 0.5|floatformat:0 }}":                                              "|floatformat would be for this alone",
		"{{ size + variables.count }}":                                                `what stands beside + is the text "3": make a number of it`,
		"{{ 10 % 2.5 }}":                                                              "what stands beside % is 2.5, which is no whole number",
		"{{ variables.big * 2 }}":                                                     "which is no number",
		`{{ "inf"|integer }}`:                                                         `is "inf", which is no number`,
		`{{ "1e30"|integer }}`:                                                        "which is no number",
		"{{ (worker_pool.name) - 1 }}":                                                "which is no number",
		`{{ (variables.region + "x") * 2 }}`:                                          "which is no number",
		"{{ (variables.zones) + 1 }}":                                                 "is a list",
		"{{ 2 * (variables.region) }}":                                                "which is no number",
		"{{ worker_pool.autoscaling_enabled + 1 }}":                                   "is True, which is no number",
		"{{ worker_pool.last_autoscaled + 1 }}":                                       "which is no number",
		"{{ true|add:nope }}":                                                         "there is no such name",
		"{% if true|default:1 and nope %}x{% endif %}":                                "there is no such name",
		"{{ true|vespene_upper }}":                                                    "there is no filter",
		`{{ true|yesno:"a,b" + nope }}`:                                               "there is no such name",
		"{% if not size > 99 %}x{% endif %}":                                          "write not (…)",
		`{% if not "z" in variables.zones %}x{% endif %}`:                             "write not (…)",
		"{% if size < 5 and queued > 1 or running > 1 %}x{% endif %}":                 "put brackets around one",
		`{% if variables.region > "b" %}x{% endif %}`:                                 "which is no number",
		"{% if size * 0.5 == 5 %}x{% endif %}":                                        "compare n",
		"{% if (size * 0.5) != 5 %}x{% endif %}":                                      "compare n",
		"{% if size %}a{% else %}b{% elif size %}c{% endif %}":                        "has its else already",
		"{% if size %}a{% else %}b{% else %}c{% endif %}":                             "has its else already",
		"{% with t=variables.tags %}{% for k in t %}{{ k }}{% endfor %}{% endwith %}": "so that the command is the same each time",
		"{% for k in (variables.tags) %}{{ k }}{% endfor %}":                          "without brackets",
		`{% for k in variables.tags|default:"" %}{{ k }}{% endfor %}`:                 "so that the command is the same each time",
		"{%verbatim%}x{%endverbatim%}":                                                "write exactly {% verbatim %}",
		`{{ "x"|join:"," }}`:                                                          "is a text, not a list",
		"echo $'\\'{{ worker_pool.name|quote }}":                                      "$'…', which shells read in two ways",

		// What would take all memory, or for ever.
		`{{ "x"|ljust:100000000000 }}`:    "makes the command longer than 131071 bytes",
		`{{ size|center:100000000000 }}`:  "longer than 131071 bytes",
		`{{ "x"|rjust:variables.giant }}`: "longer than 131071 bytes",
		`{{ "x"|ljust:"50000000" }}`:      "longer than 131071 bytes",
		`{{ "x"|ljust:50000000.0 }}`:      "longer than 131071 bytes",
		`{{ true|ljust:50000000 }}`:       "longer than 131071 bytes",
		`{% set x = "" %}{% set y = "y"|ljust:131000 %}{% for a in y %}{% set x = (x) + y %}{% endfor %}done`: `what stands in brackets is "", which is no number`,
		`{{ size|floatformat:100000000000 }}`: "longer than 131071 bytes",
		`{% set x = "xxxxxxxx" %}{% set y = x|ljust:64 %}{% for a in y %}{% set x = x|add:x %}{% endfor %}{{ x }}`:                                      "longer than 131071 bytes",
		`{% set x = "xxxxxxxx" %}{% set y = x|ljust:64 %}{% for a in y %}{% set x = x + x %}{% endfor %}{{ x }}`:                                        "longer than 131071 bytes",
		`{% set x = "x"|ljust:1000 %}{{ x|make_list|join:x }}`:                                                                                          "longer than 131071 bytes",
		`{% set x = "x"|ljust:9999 %}{% for a in x %}{% for b in x %}{% for c in x %}{% for d in x %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}y`: "its loops go round more than 10000 times",
		`{% set x = "x"|ljust:5000 %}{% for a in x %}` + strings.Repeat("y", 500) + `{% endfor %}`:                                                      "longer than 131071 bytes",

		`echo "$(echo "it is {{ worker_pool.name|quote }}")"`:               "is quoted, but",
		`echo "$(case x in a) echo "{{ worker_pool.name|quote }}";; esac)"`: "is quoted, but",
		"echo ${x:-{{ worker_pool.name|quote }}}":                           "is quoted, but",
		"echo $(({{ variables.odd|quote }}))":                               "is quoted, but",
		"echo ${{ worker_pool.name|quote }}":                                "is quoted, but",
		"cat <<E\n$(echo {{ variables.odd|quote }})\nE":                     "is quoted, but",
		"{% for c in worker_pool.name|quote reversed %}{{ c }}{% endfor %}": "not take as one plain word",
		"{% for c in worker_pool.name|quote %}{{ c }}{% endfor %}":          "not take as one plain word",
		`echo {{ worker_pool.name|quote|slice:"0:4" }}`:                     "not take as one plain word",
		`echo {{ worker_pool.name|quote|first }}`:                           "not take as one plain word",
		`echo {{ worker_pool.name|quote }} "`:                               "is quoted, but how the shell reads the command cannot be told",

		"echo {{ size / 0 }}":   "the template engine stopped: runtime error: integer divide by zero",
		"echo {{ size % 0 }}":   "the template engine stopped",
		"echo {{ size / 0.0 }}": "is +Inf, which is no number",
		"echo {{ 0.0 / 0.0 }}":  "is NaN",
		"{% for c in variables.region sorted %}{{ c }}{% endfor %}": "the template engine stopped",
		"echo \x01 rm -rf /":              "control character U+0001 behind 5 bytes",
		"echo \x00":                       "control character U+0000",
		"a\rb":                            "control character U+000D",
		"echo \x1b[31m":                   "control character U+001B",
		"echo {{ variables.bell|quote }}": "what it renders to cannot be run: control character U+0007",
		"\xff":                            "not valid UTF-8",
		"":                                "nothing to run",
		" \n\t":                           "nothing to run",
		"{% if false %}x{% endif %}":      "nothing to run",
		strings.Repeat("x", 16<<10+1):     "it is longer than 16384 bytes",
		"{% set x = \"x\"|ljust:70000 %}{{ x|quote }}{{ x|quote }}": "longer than 131071 bytes",
		`{{ "x"|ljust:131072|safe }}`:                               "makes the command longer than 131071 bytes",
	} {
		got, err := renderCommand(t, template)
		if err == nil {
			t.Errorf("%.80q: renders to %.80q, want an error", template, got)
		} else if !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "executor_command") ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%.80q: error %q, want %q in it", template, err, want)
		}
	}
}

// TestLongLoop: a command that gets too long in a loop is given up there, and not when all memory is used.
func TestLongLoop(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := renderCommand(t, `{% set x = "x"|ljust:9999 %}{% for a in x %}`+strings.Repeat("y", 10_000)+`{% endfor %}`)
	runtime.ReadMemStats(&after)
	if took := (after.TotalAlloc - before.TotalAlloc) >> 20; err == nil || took > 100 {
		t.Errorf("%v, after %d MiB", err, took)
	}
}

func TestPlainWord(t *testing.T) {
	for word, want := range map[string]bool{"": true, "a-b": true, "x=1,2": true, "a/b.c:d@e%f+g_h": true, "-x": false,
		"a b": false, "a'": false, "$x": false, "~": false, "a*": false, "ü": false, "a\n": false, "#": false, "!": false,
		"{a,b}": false, "[a]": false, "a;b": false, "a|b": false, "<": false} {
		if got := plainWord(word); got != want {
			t.Errorf("plainWord(%q) is %v, want %v", word, got, want)
		}
	}
}

// FuzzRender: whatever stands in executor_command and in the pool's columns, the result is an error, or a command in
// which every string that no filter vouched for is free of shell syntax. The strings hold a character, ¬, that is no part
// of a plain word: into a command whose template has neither it nor |safe, it gets only between single quotes that quote.
func FuzzRender(f *testing.F) {
	f.Fuzz(func(t *testing.T, template, name, variables string) {
		p := testPool(map[string]any{"name": name + "¬", "executor_command": template, "variables": variables})
		s, err := p.checked(plugins{})
		if err != nil {
			return
		}
		line, err := render(p, newPlan(p, s, time.Now()), nil)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "executor_command") {
				t.Fatalf("error %q does not say what it is about", err)
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
		file, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(line), "")
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

func TestPlainText(t *testing.T) {
	for _, test := range []struct {
		value any
		want  string
	}{{nil, ""}, {true, "True"}, {false, "False"}, {int64(-3), "-3"}, {1.5, "1.5"}, {3.0, "3"}, {1e21, "1000000000000000000000"},
		{math.Pi, "3.141592653589793"}, {"x y", "x y"}} {
		if got, err := plainText(test.value); got != test.want || err != nil {
			t.Errorf("plainText(%v) is %q, %v; want %q", test.value, got, err, test.want)
		}
	}
}
