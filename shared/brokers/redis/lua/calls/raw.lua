-- needs: session
-- args: session. Its items as they are stored, with their ids, whatever they are.
local s = session(args[1])
if not s then return refuse('session_not_found') end
local found = {}
for at, entry in ipairs(call('XRANGE', s.items, '-', '+')) do
    local item = ''
    for field = 1, #entry[2], 2 do
        if entry[2][field] == 'i' then item = entry[2][field + 1] end
    end
    found[at] = arr(2) .. pack(entry[1]) .. bin(item)
end
return ok(list(found))
