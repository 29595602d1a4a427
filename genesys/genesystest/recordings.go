package genesystest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

func notFound() reply {
	return errorReply(http.StatusNotFound, "not.found", "The requested resource was not found.")
}

// list answers with one page.
func (x *call) list() reply {
	asked, okSize := x.number("pageSize", 25)
	page, okPage := x.number("pageNumber", 1)
	if !okSize || !okPage {
		return errorReply(http.StatusBadRequest, "invalid.value", "pageSize and pageNumber are numbers from 1.")
	}
	size := min(asked, x.o.MaxPageSize)
	if x.o.PageSize != nil {
		size = x.o.PageSize(page, asked)
	}
	if x.expands() && x.o.MaxExpanded > 0 && size > x.o.MaxExpanded {
		return errorReply(http.StatusBadRequest, "response.entity.too.large", "The response is too large: ask for a smaller page or expand less.")
	}
	p := x.page(size, page)
	if x.o.OnPage != nil {
		x.o.OnPage(x.inbox, page)
	}
	return p
}

func (x *call) page(size, page int) reply {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	all := x.inbox.list()
	start := min(len(all), (page-1)*size)
	end := min(len(all), start+size)
	if x.o.RepeatAcross && start > 0 && start < len(all) {
		start--
	}
	if x.o.Depth > 0 && end > x.o.Depth {
		end = start
	}
	if x.o.MaxEntities > 0 {
		end = min(end, start+x.o.MaxEntities)
	}
	var entities []json.RawMessage
	unchecked := false
	for _, r := range all[start:end] {
		if status := x.o.Broken[r.ID]; status != 0 {
			return errorReply(status, "broken", "This page can't be shown.")
		}
		entities = append(entities, x.inbox.entity(r, x.expands()))
		unchecked = unchecked || r.RawJSON != nil
	}
	count := (len(all)+size-1)/size + x.o.PhantomPages
	envelope := mustJSON(x.envelope(size, page, count, len(all)+x.o.TotalOffset))
	x.inbox.fade()

	p := jsonReply(http.StatusOK, nil)
	p.unchecked = unchecked
	p.body = slices.Concat([]byte(`{"entities":[`), bytes.Join(asBytes(entities), []byte(",")), []byte("],"), envelope[1:])
	return p
}

func asBytes(raw []json.RawMessage) (all [][]byte) {
	for _, r := range raw {
		all = append(all, r)
	}
	return all
}

func (x *call) envelope(size, page, count, total int) map[string]any {
	uri := func(page int) string {
		q := url.Values{"pageSize": {strconv.Itoa(size)}, "pageNumber": {strconv.Itoa(page)}}
		if x.expands() {
			q.Set("expand", "conversation")
		}
		return pathRecordings + "?" + q.Encode()
	}
	m := map[string]any{
		"pageSize": size, "pageNumber": page, "pageCount": count, "total": total,
		"selfUri": uri(page), "firstUri": uri(1), "lastUri": uri(max(1, count)),
	}
	if page < count {
		m["nextUri"] = uri(page + 1)
	}
	if page > 1 {
		m["previousUri"] = uri(page - 1)
	}
	return m
}

// fade counts a listing against the deleted recordings that still show. The Cloud's mu is held.
func (i *Inbox) fade() {
	for _, r := range i.sorted {
		if r.deleted && r.showings > 0 {
			r.showings--
			r.removed = r.showings == 0
		}
	}
	if slices.ContainsFunc(i.sorted, func(r *record) bool { return r.removed }) {
		i.sorted = nil
	}
}

func (x *call) summary() reply {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	all, read := x.inbox.list(), 0
	for _, r := range all {
		if r.Read {
			read++
		}
	}
	return jsonReply(http.StatusOK, map[string]int{"readCount": read, "unreadCount": len(all) - read, "totalCount": len(all) + x.o.SummaryOffset})
}

func (x *call) get() reply {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	r := x.find()
	if r == nil {
		return notFound()
	}
	r.looked = x.inbox.listings
	return x.entityReply(r)
}

func (x *call) entityReply(r *record) reply {
	p := jsonReply(http.StatusOK, nil)
	p.body, p.unchecked = x.inbox.entity(r, x.expands()), r.RawJSON != nil
	return p
}

// put changes name and read; a client can't change other fields.
func (x *call) put() reply {
	var body struct {
		Name *string
		Read *bool
	}
	if err := json.Unmarshal(x.body, &body); err != nil {
		return errorReply(http.StatusBadRequest, "bad.request", fmt.Sprintf("The request body is no recording: %v", err))
	}
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	r := x.find()
	if r == nil {
		return notFound()
	}
	if body.Name != nil {
		r.Name = *body.Name
	}
	if body.Read != nil {
		r.Read = *body.Read
	}
	r.touch(x.o.Now())
	return x.entityReply(r)
}

// delete accepts the deletion; Options.DeletedListings says how long the recording still shows. It is a violation if the client
// did not ask for the recording itself since the inbox was last listed.
func (x *call) delete() reply {
	x.c.mu.Lock()
	r := x.find()
	unseen := r != nil && r.looked != x.inbox.listings
	if r != nil && !r.deleted {
		r.deleted, r.showings, r.removed = true, x.o.DeletedListings, x.o.DeletedListings == 0
		x.inbox.sorted = nil
	}
	x.c.mu.Unlock()
	if unseen {
		x.c.violate("inbox %s: DELETE of %q, which was not looked at since the inbox was last listed", x.inbox.ID, x.recording)
	}
	if r == nil {
		return notFound()
	}
	return reply{status: http.StatusAccepted}
}

func (x *call) me() reply {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	i := x.inbox
	if other := x.c.inboxes[i.meID]; other != nil {
		i = other
	} else if i.meID != "" {
		i = &Inbox{ID: i.meID, Name: "Somebody Else", Email: "else@example.com"}
	}
	m := reference("/api/v2/users/", i.ID, i.Name)
	m["email"], m["username"], m["state"], m["version"] = i.Email, i.Email, "active", 1
	x.access.named = i.ID
	return jsonReply(http.StatusOK, m)
}

// find returns the recording that the call names. The Cloud's mu is held.
func (x *call) find() *record {
	if r := x.inbox.records[x.recording]; r != nil && !r.removed {
		return r
	}
	return nil
}

func (x *call) expands() bool { return slices.Contains(x.query["expand"], "conversation") }

// number reads a query parameter that counts from 1.
func (x *call) number(name string, missing int) (int, bool) {
	if !x.query.Has(name) {
		return missing, true
	}
	n, err := strconv.ParseInt(x.query.Get(name), 10, 32)
	return int(n), err == nil && n >= 1
}
