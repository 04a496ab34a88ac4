-- Find runs that should be moving and are not. Returns {newest publications claimed, head, head, ...}:
-- first a flat list of queue\npriority and time, then a flat list for each run that wants a decision.
-- Each is leased: no other look returns it for that long.
-- KEYS: none    ARGV: '', max crashes, limit for each shard, lease, look, lapse, prefix, ...
local max_crashes, limit, reply, newest = ARGV[2], tonumber(ARGV[3]), {}, {}
for i = 7, #ARGV do
  P = ARGV[i]
  -- If nobody has looked for a while, the store was away or the fleet was: no heartbeat could arrive,
  -- so silence proves nothing yet. Each owner is spared once; a heartbeat lets it be spared again.
  local looked = tonumber(redis.call('GET', P .. 'looked') or NOW)
  redis.call('SET', P .. 'looked', NOW)
  if NOW - looked > ARGV[6] / 2 then
    for _, owner in ipairs(redis.call('ZRANGE', P .. 'owners', 0, -1)) do
      if redis.call('SADD', P .. 'spared', owner) == 1 then
        redis.call('ZADD', P .. 'owners', 'GT', NOW + ARGV[6], owner)
      end
    end
  end
  for _, owner in ipairs(redis.call('ZRANGEBYSCORE', P .. 'owners', '-inf', NOW, 'LIMIT', 0, 10)) do
    bury(owner, 'owner', max_crashes)
  end
  for _, run in ipairs(redis.call('ZRANGEBYSCORE', P .. 'due', '-inf', NOW, 'LIMIT', 0, limit)) do
    local status, holder, deadline = unpack(get(run, 'status', 'owner', 'deadline'))
    if status == 'running' then
      if tonumber(deadline) > 0 and tonumber(deadline) <= NOW then
        take_away(run, 'timeout', max_crashes)
      elseif not redis.call('ZSCORE', P .. 'owners', holder) then
        take_away(run, 'owner', max_crashes)
      else
        local again = NOW + ARGV[5]
        if tonumber(deadline) > 0 and tonumber(deadline) < again then
          again = tonumber(deadline)
        end
        due(run, again)
      end
      status = redis.call('HGET', key(run), 'status')
    elseif status == 'scheduled' then
      enqueue(run, 0, NOW)
      status = redis.call('HGET', key(run), 'status')
    elseif status == 'completed' or status == 'cancelled' then
      forget(run)
    end
    if status == 'queued' or status == 'cancelling' or status == 'redirecting' or status == 'deleting' then
      due(run, NOW + ARGV[4])
      reply[#reply + 1] = redis.call('HGETALL', key(run))
    elseif status ~= 'running' then
      local elsewhere, marked = unpack(get(run, 'log_elsewhere', 'marked'))
      if elsewhere == '1' and marked ~= status and (status == 'failed' or status == 'paused') then
        due(run, NOW + 2 * ARGV[4])
        reply[#reply + 1] = redis.call('HGETALL', key(run))
      else
        undue(run)
      end
    end
  end
  local flows = redis.call('ZRANGE', P .. 'flow', 0, -1, 'WITHSCORES')
  for j = 1, #flows, 2 do
    newest[flows[j]] = math.max(newest[flows[j]] or 0, tonumber(flows[j + 1]))
  end
end
local flat = {}
for flow, time in pairs(newest) do
  flat[#flat + 1] = flow
  flat[#flat + 1] = string.format('%d', time)
end
table.insert(reply, 1, flat)
return reply
