package shelltemplate
import ("testing";"strings";"mvdan.cc/sh/v3/syntax")
func BenchmarkParts(b *testing.B) {
	line := `git -C plans pull -q --ff-only && terraform -chdir=plans/eu-west-1 apply -auto-approve -input=false -lock-timeout=60s -var "size=$VESPENE_SIZE"`
	b.Run("newparse", func(b *testing.B) { b.ReportAllocs(); for b.Loop() { syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(line), "") } })
	p := syntax.NewParser(syntax.Variant(syntax.LangBash))
	b.Run("parse", func(b *testing.B) { b.ReportAllocs(); for b.Loop() { p.Parse(strings.NewReader(line), "") } })
	b.Run("lex", func(b *testing.B) { b.ReportAllocs(); for b.Loop() { lex(`git -C plans pull -q --ff-only && terraform -chdir=plans/{{ variables.region }} apply -auto-approve -input=false -lock-timeout=60s -var "size=$VESPENE_SIZE"`) } })
	v := sampleValues()
	b.Run("render", func(b *testing.B) { b.ReportAllocs(); for b.Loop() { Render(`git -C plans pull -q --ff-only && terraform -chdir=plans/{{ variables.region }} apply -auto-approve -input=false -lock-timeout=60s -var "size=$VESPENE_SIZE"`, v, nil) } })
}
