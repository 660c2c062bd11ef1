-- A different access token in each request, in turn.
--   wrk … -s tokens.lua URL -- TOKENS_FILE MODE CREDENTIALS
-- MODE: introspect (form field), exchange (form field) or userinfo (bearer header)
function init(args)
  messages, next_message = {}, 0
  for line in io.lines(args[1]) do
    if args[2] == "userinfo" then
      messages[#messages + 1] = wrk.format("GET", nil, { ["Authorization"] = "Bearer " .. line })
    else
      local field = args[2] == "exchange" and "subject_token=" or "token="
      local headers = { ["Content-Type"] = "application/x-www-form-urlencoded" }
      messages[#messages + 1] = wrk.format("POST", nil, headers, field .. line .. "&" .. args[3])
    end
  end
end

function request()
  next_message = next_message % #messages + 1
  return messages[next_message]
end
