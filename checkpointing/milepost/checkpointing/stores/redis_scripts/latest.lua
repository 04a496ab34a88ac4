-- Return {path, header, body} of the last record of the first series that has one, or an empty list.
-- KEYS: headers, bodies, paths    ARGV: series, ...
for _, series in ipairs(ARGV) do
  local found = redis.call('ZREVRANGEBYLEX', KEYS[3], '[' .. series .. '\255', '[' .. series, 'LIMIT', 0, 1)[1]
  if found then
    return {found, redis.call('HGET', KEYS[1], found), redis.call('HGET', KEYS[2], found)}
  end
end
return {}
