-- needs: session
-- Items behind a cursor.

local function begins_at(s, after) -- nil where events behind it are gone
    if not after then return '-' end
    if pack(after[1], after[2], after[3], after[4]) == call('HGET', s.key, 'floor') then return '-' end
    local g = num(after[1])
    local found = call('XREVRANGE', s.items, entry_id(g, after[2], after[3]), g .. '-0', 'COUNT', 1)[1]
    if not found then return nil end
    local _, _, _, attempt, nonce_, _, first, count = head(found[2][2])
    local last = first + count - 1
    if attempt ~= after[2] or nonce_ ~= after[4] or after[3] > last then return nil end
    return after[3] < last and found[1] or '(' .. found[1]
end

local function page(s, after, limit)
    local from = begins_at(s, after)
    local recovered, items, size, more = from ~= nil, {}, 0, false
    from = from or '-'
    repeat
        local got = call('XRANGE', s.items, from, '+', 'COUNT', 16)
        for _, entry in ipairs(got) do
            size = size + (tonumber(entry[2][6]) or 0)
            if #items > 0 and size > limit then
                more = true
                break
            end
            items[#items + 1] = entry[2][2] or ''
            from = '(' .. entry[1]
        end
    until more or #got < 16
    return arr(3) .. list(items) .. pack(more, recovered)
end
