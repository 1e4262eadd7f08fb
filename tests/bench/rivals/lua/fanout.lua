-- The answer of heddle's /concurrent_requests/, made by nginx: one subrequest for each URL, all at once.
-- capture_multi does not tell when each part came in, so `elapsed` is that of the slowest.
local concat, format, sub, gsub, byte = table.concat, string.format, string.sub, string.gsub, string.byte
local find = ngx.re.find

local CONTENT_CHARS = 100
local M = {}
local prefixes, captures = {}, {}

local escapes = setmetatable({ ['"'] = '\\"', ['\\'] = '\\\\' }, {
    __index = function(_, char) return format("\\u%04x", byte(char)) end,
})

local function escape(text)
    if not find(text, [=[[\x00-\x1f"\\]]=], "jo") then
        return text
    end
    return (gsub(text, '[%z\1-\31"\\]', escapes))
end

function M.init(urls)
    for i, url in ipairs(urls) do
        prefixes[i] = '{"url":"' .. escape(url) .. '",'
        captures[i] = { "/origin/" .. i }
    end
end

local function member(response)
    if response.status == 200 and not response.truncated then
        return '"status":200,"content":"' .. escape(sub(response.body, 1, CONTENT_CHARS)) .. '"'
    end
    return format('"status":%d,"error":"HTTP %d"', response.status, response.status)
end

function M.answer()
    local responses = { ngx.location.capture_multi(captures) }
    ngx.update_time()
    local elapsed = format("%.3f", ngx.now() - ngx.req.start_time())
    local results = {}
    for i, response in ipairs(responses) do
        results[i] = prefixes[i] .. member(response) .. ',"elapsed":' .. elapsed .. "}"
    end
    local body = '{"results":[' .. concat(results, ",") .. '],"total_time":' .. elapsed .. "}"
    ngx.header["Content-Length"] = #body
    ngx.print(body)
end

return M
