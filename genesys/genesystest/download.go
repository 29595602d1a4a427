package genesystest

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/archiverd/archiverd/media/mediatest"
)

// download answers both operations that return links to media: /transcoding, and the older /media.
func (x *call) download(absent Absence) reply {
	switch absent {
	case AbsentCoded:
		return errorReply(http.StatusNotFound, "not.found", "HTTP 404 Not Found")
	case AbsentUncoded:
		return noSuchPath()
	}
	format := mediatest.WEBM
	if x.query.Has("formatId") {
		format = x.query.Get("formatId")
	}
	if !slices.Contains(mediatest.Formats(), format) {
		return errorReply(http.StatusBadRequest, "constraint.validation", "formatId is not one of the formats.")
	}
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	r := x.find()
	if r == nil {
		return notFound()
	}
	m := map[string]any{"id": x.recording, "selfUri": pathRecordings + "/" + url.PathEscape(x.recording) + "/transcoding"}
	return x.progress(r, format, m)
}

// progress counts the request, and answers with the state of the transcode. The Cloud's mu is held.
func (x *call) progress(r *record, format string, m map[string]any) reply {
	key := x.op + " " + format
	n := r.polls[key]
	if x.op == opMedia && x.query.Get("async") != "true" {
		n = x.o.Queued + x.o.Running + x.o.WithoutLocation // it blocks until ready
	}
	r.polls[key] = n + 1
	switch {
	case n < x.o.Queued:
		return jsonReply(http.StatusAccepted, m)
	case n < x.o.Queued+x.o.Running:
		m["state"] = "Running"
		return jsonReply(http.StatusOK, m)
	}
	m["state"] = "Completed"
	m["thumbnails"] = []any{}
	if n >= x.o.Queued+x.o.Running+x.o.WithoutLocation {
		m["contentLocationUri"] = x.newLink(r, format)
	}
	return jsonReply(http.StatusOK, m)
}

// noSuchPath is the answer of a gateway that has no such operation.
func noSuchPath() reply {
	return reply{
		status: http.StatusNotFound, unchecked: true, header: http.Header{"Content-Type": {"text/html"}},
		body: []byte("<html><head><title>404 Not Found</title></head><body><center><h1>404 Not Found</h1></center></body></html>\n"),
	}
}
