-- Note when a run's time is over. What was read from the cold tier before is not to be believed any more.
-- KEYS: headers, bodies, paths, seen, pending, generation
-- ARGV: milliseconds ('' for never), ttl of the generation
redis.call('INCR', KEYS[6])
redis.call('PEXPIRE', KEYS[6], ARGV[2])
if is_over() then
  -- What has expired does not come back.
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
elseif redis.call('EXISTS', KEYS[4]) == 1 then
  if ARGV[1] == '' then
    redis.call('HDEL', KEYS[4], '!until')
  else
    redis.call('HSET', KEYS[4], '!until', ARGV[1])
  end
end
return 1
