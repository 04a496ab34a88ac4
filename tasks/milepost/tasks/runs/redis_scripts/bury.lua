-- An owner is gone: free what it held. Returns the ids of the runs.
-- KEYS: none    ARGV: '', max crashes, owner, cause, prefix, ...
local freed = {}
for i = 5, #ARGV do
  P = ARGV[i]
  for _, run in ipairs(bury(ARGV[3], ARGV[4], ARGV[2])) do
    freed[#freed + 1] = run
  end
end
return freed
