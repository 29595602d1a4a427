package storage

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
)

// OpenAtOnce is Open without pauses between the attempts.
func OpenAtOnce(ctx context.Context, o Options) (*Bucket, error) {
	return open(ctx, o, retry.NewStandard(func(so *retry.StandardOptions) {
		repeat(so)
		so.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
	}))
}
