-- needs: dead
-- args: id to begin at, most
local found = {}
for at, entry in ipairs(call('XRANGE', DEAD, args[1], '+', 'COUNT', args[2])) do
    local fields = {}
    for field, value in ipairs(entry[2]) do fields[field] = bin(value) end
    found[at] = arr(2) .. pack(entry[1]) .. list(fields)
end
return ok(list(found))
