package fault

import "testing"

func TestRedacted(t *testing.T) {
	for text, want := range map[string]string{
		"/ckpt/a@b?c=d":                    "/ckpt/a@b?c=d",
		"gs://bucket/run/1":                "gs://bucket/run/1",
		"s3://KEY:SECRET@host/b?sig=TOP&x": "s3://xxxxx@host/b?sig=xxxxx&xxxxx",
		"s3://TOKEN@host":                  "s3://xxxxx@host",
		"s3://b/a@c":                       "s3://b/a@c",
		"s3://b/a?x=1#y":                   "s3://b/a?x=xxxxx#y",
		"s3://b/a?":                        "s3://b/a?",
		`save s3://u:p@b/a?s=1: open "s3://u:p@b/a?s=1": no; see https://x.org/?`: `save s3://xxxxx@b/a?s=xxxxx: open "s3://xxxxx@b/a?s=xxxxx": no; see https://x.org/?`,
		"did you mean s3://b/a?s=1?":     "did you mean s3://b/a?s=xxxxx?",
		"`rm 's3://b/a?s=1'` removes it": "`rm 's3://b/a?s=xxxxx'` removes it",
		"a://b@c://d@e":                  "a://xxxxx@c://d@e",
		"://u@h":                         "://u@h",
		"a?b://u:p@h":                    "a?b://xxxxx@h",
	} {
		if got := Redacted(text); got != want {
			t.Errorf("Redacted(%q) is %q, want %q", text, got, want)
		}
	}
}
