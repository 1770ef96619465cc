package orbax

// OpenOption is an option of Open.
type OpenOption interface{ applyOpen(*openConfig) }

type openConfig struct{ followLinks bool }

type openOption func(*openConfig)

func (o openOption) applyOpen(c *openConfig) { o(c) }

// FollowLinks lets symbolic links inside of a checkpoint lead to files outside of it,
// as those of a checkpoint do that its owner has put together of links. Whoever made
// the checkpoint then decides which files of the machine are read: give it for those
// that you trust. Without it such a link is an error that matches ErrLink when it is
// followed.
func FollowLinks() OpenOption { return openOption(func(c *openConfig) { c.followLinks = true }) }
