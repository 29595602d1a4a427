package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/archiverd/archiverd/config"
)

// The policies are those of docs/install.md and docs/records.md, for the bucket BUCKET and the
// prefix PREFIX.
const (
	ownPolicy = `{
  "Version": "2012-10-17",
  "Statement": [
    {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::BUCKET",
      "Condition": {"StringLike": {"s3:prefix": "PREFIX/*"}}},
    {"Effect": "Allow", "Resource": "arn:aws:s3:::BUCKET/PREFIX/*", "Action": [
      "s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:AbortMultipartUpload",
      "s3:GetObjectRetention", "s3:PutObjectRetention", "s3:GetObjectLegalHold", "s3:PutObjectLegalHold"
    ]},
    {"Effect": "Allow", "Resource": "arn:aws:s3:::BUCKET", "Action": [
      "s3:ListBucketMultipartUploads", "s3:GetBucketVersioning", "s3:GetLifecycleConfiguration", "s3:GetBucketObjectLockConfiguration"
    ]}
  ]
}
`
	removalPolicy = `{
  "Version": "2012-10-17",
  "Statement": [
    {"Effect": "Allow", "Action": "s3:ListBucketVersions", "Resource": "arn:aws:s3:::BUCKET",
      "Condition": {"StringLike": {"s3:prefix": "PREFIX/*"}}},
    {"Effect": "Allow", "Resource": "arn:aws:s3:::BUCKET/PREFIX/*", "Action": [
      "s3:DeleteObjectVersion", "s3:GetObjectLegalHold", "s3:GetObjectRetention"
    ]}
  ]
}
`
)

// policiesJSON is what doctor --policy --json prints.
type policiesJSON struct {
	Own     json.RawMessage `json:"own"`
	Removal json.RawMessage `json:"removal"`
}

// printPolicies prints what the bucket has to allow archiverd's own credentials, and those of
// erase and dispose.
func (a *app) printPolicies(c *config.Config) error {
	place := strings.NewReplacer("BUCKET", c.Storage.Bucket, "PREFIX", c.Storage.Prefix)
	own, removal := place.Replace(ownPolicy), place.Replace(removalPolicy)
	if a.json {
		return a.printJSON(policiesJSON{json.RawMessage(own), json.RawMessage(removal)})
	}
	_, err := fmt.Fprintf(a.stdout, `archiverd's own credentials, which hold recordings too:

%s
The credentials that erase and dispose bring (--credentials). Add s3:BypassGovernanceRetention
for erase --bypass-governance, and take it away again:

%s`, own, removal)
	return err
}
