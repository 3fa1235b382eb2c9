package main

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseDatabase(t *testing.T) {
	t.Setenv("PGPASSWORD", "")
	working, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	script := "sqlite:" + filepath.Join(working, "testdata/vespene.sql")
	for address, key := range map[string]string{
		"postgres://user:secret@db.example.com/vespene?sslmode=disable":  "postgres://db.example.com:5432/vespene",
		"postgresql://user@db.example.com:6432/vespene":                  "postgres://db.example.com:6432/vespene",
		"host=db.example.com dbname=vespene user=u password='a b://c@d'": "postgres://db.example.com:5432/vespene",
		"postgres://u:a%40b%2Fc@h/d":                                     "postgres://h:5432/d",
		"postgres://u@h1:1,h2:2/d?sslmode=prefer":                        "postgres://h1:1,h2:2/d",
		"postgres://u@h": "postgres://h:5432/u",
		"host=h hostaddr=127.0.0.1 user=u dbname=d":                           "postgres://h:5432/d",
		"host=h dbname=d user=u keepalives=1 gssencmode=disable timezone=UTC": "postgres://h:5432/d",
		"host=h dbname=d user=u keepalives=2":                                 "postgres://h:5432/d",
		"hostaddr=127.0.0.1 user=u dbname=d":                                  "postgres://127.0.0.1:5432/d",
		"postgres:///d?hostaddr=127.0.0.1":                                    "postgres://127.0.0.1:5432/d",
		"sqlite:testdata/vespene.sql":                                         script,
		"sqlite:/var/../var/a?b#c.db":                                         "sqlite:/var/a?b#c.db",
	} {
		d, err := parseDatabase(address)
		if err != nil || d.key != key {
			t.Errorf("%s: key %q, %v; want %q", address, d.key, err, key)
		}
		want := map[string]string{"application_name": "vespene-autoscale"}
		if d.postgres != nil && !maps.Equal(d.postgres.Config.RuntimeParams, want) {
			t.Errorf("%s: startup parameters %v", address, d.postgres.Config.RuntimeParams)
		}
	}
	for _, address := range []string{
		"sEcret", "sqlite:", "mysql://u:sEcret@h/d", "mysql://u:sEcret@h/d?a=b", "postgres://u:sEcret",
		"postgres://u:12/sEcret@h/d", "postgres://u:12?sEcret@h/d", "postgres://u:12#sEcret@h/d",
		"postgres://u:sEc/ret@h/d", "postgres://u:sEcret@h:port/d", "host=h password=sE cret",
		"hostaddr=sEcret host=h", "postgres://u:sEcret@h/d?sslmode=nope", "postgres://u:sE%zzcret@h/d",
		"Postgres://u:sEcret@h/d", "postgres://sEcret@@h", "postgres://u:p@sEcret@h/d",
		"password=a sEcretpart=x", "postgres://u@h/d?sEcret=x", "dbname=postgres://u:sEcret@h/d",
		"host=h dbname='user=u password=sEcret'",
	} {
		d, err := parseDatabase(address)
		var f *failure
		if !errors.As(err, &f) || f.code != exitUsage || strings.Contains(strings.ToLower(f.Error()+f.hint), "ecret") {
			t.Errorf("%s: %+v, error %v; want one that leads to exit %d and names no part", address, d, err, exitUsage)
		}
	}
	_, err = parseDatabase("postgres://u:sEcret@h/d?sslmode=verify-full&sslrootcert=/nope/ca.pem")
	if err == nil || !strings.Contains(err.Error(), "/nope/ca.pem") || strings.Contains(err.Error(), "sEcret") {
		t.Errorf("a certificate that is not there: %v", err)
	}
}

// FuzzAddress: of an address that is refused no part is told, and of one that is not, the password is in no key.
func FuzzAddress(f *testing.F) {
	const secret = "sEcReT9"
	f.Fuzz(func(t *testing.T, address string) {
		d, err := parseDatabase(address)
		var failed *failure
		if err != nil {
			var file *os.PathError // a certificate's, which is named
			if !errors.As(err, &failed) || failed.code != exitUsage ||
				!errors.As(err, &file) && strings.Contains(failed.Error()+failed.hint, secret) {
				t.Fatalf("%q: error %v", address, err)
			}
			return
		}
		if d.postgres == nil {
			if !filepath.IsAbs(d.file) || d.key != "sqlite:"+d.file {
				t.Fatalf("%q: %+v", address, d)
			}
			return
		}
		public := d.postgres.Config.Host + d.postgres.Config.Database + d.postgres.Config.User
		for _, other := range d.postgres.Config.Fallbacks {
			public += other.Host
		}
		if !strings.Contains(public, secret) && strings.Contains(d.key, secret) {
			t.Fatalf("%q: key %q", address, d.key)
		}
		if strings.Contains(d.key, secret) && strings.Contains(d.key, "@") &&
			strings.HasPrefix(address, "postgres") && !strings.Contains(address, "%") {
			t.Fatalf("%q: key %q", address, d.key)
		}
		for name := range d.postgres.Config.RuntimeParams {
			if !slices.Contains([]string{"application_name", "options", "search_path"}, name) {
				t.Fatalf("%q: startup parameter %q", address, name)
			}
		}
	})
}
