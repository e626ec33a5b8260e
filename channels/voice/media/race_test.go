//go:build race

package media

func init() { raced = true }
