package genesystest

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi2conv"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

//go:embed openapi.json
var openAPI []byte

// spec is the published contract, against which every request and reply is checked.
type spec struct {
	routes  map[string]*routers.Route // by operation
	options *openapi3filter.Options
}

func loadSpec() (*spec, error) {
	var v2 openapi2.T
	if err := json.Unmarshal(openAPI, &v2); err != nil {
		return nil, fmt.Errorf("genesystest: read openapi.json: %w", err)
	}
	v3, err := openapi2conv.ToV3(&v2)
	if err != nil {
		return nil, fmt.Errorf("genesystest: convert openapi.json: %w", err)
	}
	// No model has a required field, and every field can be null, which Swagger 2.0 can't express.
	for _, model := range v3.Components.Schemas {
		for _, field := range model.Value.Properties {
			field.Value.Nullable = true
		}
	}
	s := &spec{routes: map[string]*routers.Route{}, options: &openapi3filter.Options{
		IncludeResponseStatus: true,
		// Clients send a recording back as they got it, with its id and selfUri.
		ExcludeReadOnlyValidations: true,
		SkipSettingDefaults:        true,
		AuthenticationFunc:         openapi3filter.NoopAuthenticationFunc,
	}}
	for path, item := range v3.Paths.Map() {
		for method, operation := range item.Operations() {
			op := sdkName(operation.OperationID)
			s.routes[op] = &routers.Route{Spec: v3, Path: path, PathItem: item, Method: method, Operation: operation}
		}
	}
	return s, nil
}

// sdkName makes getUserrecordingMedia get_userrecording_media.
func sdkName(operationID string) string {
	var b strings.Builder
	for _, r := range operationID {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteString(strings.ToLower(string(r)))
	}
	return b.String()
}

// input is a copy of the request that the filter may read.
func (s *spec) input(x *call) *openapi3filter.RequestValidationInput {
	r := x.r.Clone(context.WithoutCancel(x.r.Context()))
	r.Body = io.NopCloser(bytes.NewReader(x.body))
	return &openapi3filter.RequestValidationInput{
		Request: r, Route: s.routes[x.op], Options: s.options,
		PathParams: map[string]string{"recordingId": x.recording},
	}
}

func (s *spec) checkRequest(x *call) error {
	known := map[string]bool{}
	for _, p := range s.routes[x.op].Operation.Parameters {
		known[p.Value.Name] = p.Value.In == "query"
	}
	for name := range x.query {
		if !known[name] {
			return fmt.Errorf("unknown parameter %q", name)
		}
	}
	if len(x.body) > 0 && x.r.Method != http.MethodPut {
		return fmt.Errorf("a body of %d bytes", len(x.body))
	}
	return openapi3filter.ValidateRequest(x.r.Context(), s.input(x))
}

func (s *spec) checkReply(x *call, p reply) error {
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: s.input(x), Status: p.status, Header: p.header, Options: s.options,
	}
	if p.status == http.StatusAccepted && x.op == opDelete && len(p.body) > 0 {
		return fmt.Errorf("a 202 with a body")
	}
	return openapi3filter.ValidateResponse(x.r.Context(), in.SetBodyBytes(p.body))
}

// scopes returns the scopes of an operation. One of them is enough.
func (s *spec) scopes(op string) (names []string) {
	for _, requirement := range *security(s.routes[op].Operation) {
		for _, scopes := range requirement {
			names = append(names, scopes...)
		}
	}
	return names
}

func security(o *openapi3.Operation) *openapi3.SecurityRequirements {
	if o.Security == nil {
		return &openapi3.SecurityRequirements{}
	}
	return o.Security
}
