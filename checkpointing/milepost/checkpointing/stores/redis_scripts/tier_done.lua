-- Note that a record was carried over; when it was the run's last one to be, its records may go after a time.
-- KEYS: headers, bodies, paths, seen, pending    ARGV: member, what members of the run begin with, ttl
redis.call('ZREM', KEYS[5], ARGV[1])
if #redis.call('ZRANGEBYLEX', KEYS[5], '[' .. ARGV[2], '[' .. ARGV[2] .. '\255', 'LIMIT', 0, 1) == 0 then
  for i = 1, 3 do
    redis.call('PEXPIRE', KEYS[i], ARGV[3])
  end
end
return 1
