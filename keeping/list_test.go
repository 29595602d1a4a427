package keeping

import (
	"strings"
	"testing"
)

const (
	listHeader = `{"disposal_list":1,"bucket":"b","prefix":"p","ledger":"l","before":"2021-01-01T00:00:00Z","made":"2021-01-01T00:00:00Z"}` + "\n"
	listItem   = `{"org":"acme","inbox":"u","recording":"r1","state":"gone","retention_ended":"2020-01-01T00:00:00Z","stored":[]}` + "\n"
)

func TestReadList(t *testing.T) {
	l, err := ReadList([]byte(listHeader + listItem))
	if err != nil || len(l.Items) != 1 || l.Items[0].Recording != "r1" || !strings.HasPrefix(l.ID(), "list-") {
		t.Fatalf("%+v, %v", l, err)
	}
	for name, text := range map[string]string{
		"empty":           "",
		"no header":       listItem,
		"no item":         listHeader,
		"another version": strings.Replace(listHeader, ":1", ":2", 1) + listItem,
		"torn":            listHeader + listItem[:40],
		"twice":           listHeader + listItem + listItem,
		"unknown field":   listHeader + strings.Replace(listItem, "org", "organisation", 1),
		"a blank line":    listHeader + "\n" + listItem,
		"two on a line":   listHeader + strings.TrimSpace(listItem) + listItem,
		"not JSON":        "Recording;Inbox\nr1;u\n",
	} {
		if l, err := ReadList([]byte(text)); err == nil || !strings.Contains(err.Error(), "read the list") {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
	other, err := ReadList([]byte(listHeader + strings.Replace(listItem, "r1", "r2", 1)))
	if err != nil || other.ID() == l.ID() {
		t.Errorf("another list has the id %s, %v", other.ID(), err)
	}
}
