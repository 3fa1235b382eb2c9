package main

import (
	"go/ast"
	gobuild "go/build"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// imports stands in for every imported package: only what package main declares is asked about.
type imports map[string]*types.Package

func (all imports) Import(name string) (*types.Package, error) {
	if all[name] == nil {
		all[name] = types.NewPackage(name, path.Base(name))
		all[name].MarkComplete()
	}
	return all[name], nil
}

// arrows returns what each file of package main uses of which other: file → other file → a name.
func arrows(t *testing.T) map[string]map[string]string {
	t.Helper()
	directory, err := gobuild.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	fset, info := token.NewFileSet(), &types.Info{Uses: map[*ast.Ident]types.Object{}}
	var files []*ast.File
	all := map[string]map[string]string{}
	for _, name := range directory.GoFiles {
		file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files, all[name] = append(files, file), map[string]string{}
	}
	config := types.Config{Importer: imports{}, Error: func(error) {}} // what imported packages have is missed
	self, _ := config.Check("main", fset, files, info)
	for id, object := range info.Uses {
		variable, _ := object.(*types.Var)
		_, isFunction := object.(*types.Func)
		isOfFile := object.Parent() == self.Scope() || isFunction || variable != nil && variable.IsField()
		if object.Pkg() == self && isOfFile {
			if from, to := fset.File(id.Pos()).Name(), fset.File(object.Pos()).Name(); from != to {
				all[from][to] = max(all[from][to], object.Name())
			}
		}
	}
	return all
}

// TestHouse: no two files use each other and none stand in a cycle, so that each can be read with those that it stands
// on alone; and CONTRIBUTING.md's table says which those are.
func TestHouse(t *testing.T) {
	all := arrows(t)
	seen := map[string]bool{}
	var visit func(from string, by []string)
	visit = func(from string, by []string) {
		if i := slices.Index(by, from); i >= 0 {
			t.Errorf("a cycle: %s → %s (%s)", strings.Join(by[i:], " → "), from, all[by[len(by)-1]][from])
			return
		}
		if seen[from] {
			return
		}
		seen[from] = true
		for to, name := range all[from] {
			if back := all[to][from]; back != "" && from < to {
				t.Errorf("%s uses %s of %s, which uses %s of it", from, name, to, back)
			}
			visit(to, append(slices.Clip(by), from))
		}
	}
	table := map[string]string{}
	row := regexp.MustCompile(`(?m)^\| (\w+\.go) \|.*\| ([^|]*) \|$`)
	for _, match := range row.FindAllStringSubmatch(string(contentOf(t, "CONTRIBUTING.md")), -1) {
		table[match[1]] = match[2]
	}
	delete(all, "report.go") // until the simulation has a view of its own
	delete(table, "report.go")
	for from, uses := range all {
		visit(from, nil)
		want := strings.ReplaceAll(strings.Join(slices.Sorted(maps.Keys(uses)), ", "), ".go", "")
		if got, has := table[from]; !has || got != want && (got != "nothing" || want != "") {
			t.Errorf("CONTRIBUTING.md says that %s stands on %q, and it does on: %s", from, got, want)
		}
	}
	if len(table) != len(all) {
		t.Errorf("CONTRIBUTING.md's table has %v", slices.Sorted(maps.Keys(table)))
	}
}
