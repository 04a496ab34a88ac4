-- Find runs that should be moving and are not. Returns {newest publications claimed, head, head, ...}:
-- first a flat list of queue\npriority and time, then a flat list for each run that wants a decision.
-- Each is leased: no other look returns it for that long.
-- KEYS: none    ARGV: '', max crashes, limit, lease, look, lapse, prefix, ...
local max_crashes, limit, reply, flows = ARGV[2], tonumber(ARGV[3]), {}, {}
for i = 7, #ARGV do
  P = ARGV[i]
  -- If nobody has looked for a while, the store was away or the fleet was: no heartbeat could arrive,
  -- so silence proves nothing yet.
  local looked = tonumber(redis.call('GET', P .. 'looked') or NOW)
  redis.call('SET', P .. 'looked', NOW)
  if NOW - looked > ARGV[6] / 2 then
    for _, owner in ipairs(redis.call('ZRANGE', P .. 'owners', 0, -1)) do
      redis.call('ZADD', P .. 'owners', 'GT', NOW + ARGV[6], owner)
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
      status = 'queued'
    end
    if status == 'queued' or status == 'cancelling' then
      due(run, NOW + ARGV[4])
      reply[#reply + 1] = redis.call('HGETALL', key(run))
      local flow = redis.call('HGETALL', P .. 'flow')
      for j = 1, #flow, 2 do
        flows[flow[j]] = math.max(flows[flow[j]] or 0, tonumber(flow[j + 1]))
      end
    elseif status ~= 'running' then
      undue(run)
    end
  end
end
local newest = {}
for flow, time in pairs(flows) do
  newest[#newest + 1] = flow
  newest[#newest + 1] = string.format('%d', time)
end
table.insert(reply, 1, newest)
return reply
