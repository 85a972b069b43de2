-- needs: base
-- args: sessions
local found = {}
for at, sid in ipairs(args[1]) do found[at] = pack(tonumber(call('HGET', K .. 's:' .. sid, 'newest') or -1)) end
return ok(list(found))
