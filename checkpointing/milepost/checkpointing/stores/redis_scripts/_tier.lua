-- Shared by the scripts of the hot tier. Of a run, the hash KEYS[4] tells by series which server has seen all
-- of it, and under !until when the run's time is over, in milliseconds.
local function is_over()
  local time, over = redis.call('TIME'), redis.call('HGET', KEYS[4], '!until')
  return over and tonumber(over) <= time[1] * 1000 + math.floor(time[2] / 1000)
end

local function server()
  return redis.call('INFO', 'server'):match('run_id:(%w+)')
end

local function has_seen_all(series)
  return redis.call('HGET', KEYS[4], series) == server() and not is_over()
end

