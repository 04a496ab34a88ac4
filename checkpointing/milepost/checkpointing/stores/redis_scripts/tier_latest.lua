-- Return {path, header, body, whether it is still to be carried over} of the last record of a series in the hot
-- tier, an empty list if there is none, or nil if this server may have lost records of the series.
-- KEYS: headers, bodies, paths, seen, pending    ARGV: series, what members of the run begin with
if not has_seen_all(ARGV[1]) then
  return nil
end
local found = redis.call('ZREVRANGEBYLEX', KEYS[3], '[' .. ARGV[1] .. '\255', '[' .. ARGV[1], 'LIMIT', 0, 1)
if #found == 0 then
  return {}
end
return {
  found[1],
  redis.call('HGET', KEYS[1], found[1]),
  redis.call('HGET', KEYS[2], found[1]),
  redis.call('ZSCORE', KEYS[5], ARGV[2] .. found[1]) and 1 or 0,
}
