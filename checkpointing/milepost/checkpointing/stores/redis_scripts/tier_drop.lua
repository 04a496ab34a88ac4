-- Drop the copy of a run that is being deleted, with what waits of it. What was read from the cold tier before
-- is not to be believed any more.
-- KEYS: headers, bodies, paths, seen, pending, generation
-- ARGV: what members of the run begin with, ttl of the generation
redis.call('INCR', KEYS[6])
redis.call('PEXPIRE', KEYS[6], ARGV[2])
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
redis.call('ZREMRANGEBYLEX', KEYS[5], '[' .. ARGV[1], '[' .. ARGV[1] .. '\255')
return 1
