resource "aws_lb_listener_rule" "conditions" {
  listener_arn = aws_lb_listener.https.arn
  priority     = var.changed ? 28 : 10

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.grpc.arn
  }

  condition {
    host_header {
      values = [var.changed ? "*.example.org" : "*.example.com"]
    }
  }
  condition {
    http_header {
      http_header_name = "Content-Type"
      values           = ["application/grpc*"]
    }
  }
  condition {
    http_request_method {
      values = ["POST"]
    }
  }
  tags = { changed = tostring(var.changed) }
}

resource "aws_lb_listener_rule" "more_conditions" {
  listener_arn = aws_lb_listener.https.arn
  priority     = var.changed ? 7 : 20

  action {
    type = "fixed-response"
    fixed_response {
      content_type = "application/json"
      message_body = "{}"
      status_code  = var.changed ? "404" : "200"
    }
  }

  condition {
    path_pattern {
      values = ["/a/*", "/b?"]
    }
  }
  condition {
    query_string {
      key   = "version"
      value = var.changed ? "2" : "1"
    }
    query_string {
      value = "beta"
    }
  }
  condition {
    source_ip {
      values = ["10.0.0.0/8"]
    }
  }
}

resource "aws_lb_listener_rule" "moved" {
  listener_arn = aws_lb_listener.https.arn
  priority     = 30

  action {
    type = "redirect"
    redirect {
      host        = "www.#{host}"
      path        = "/new/#{path}"
      query       = var.changed ? "from=old" : "#{query}"
      status_code = "HTTP_301"
    }
  }

  condition {
    path_pattern {
      values = ["/old/*"]
    }
  }
}

resource "aws_lb_listener_rule" "login" {
  listener_arn = aws_lb_listener.https.arn

  action {
    type = "authenticate-oidc"
    authenticate_oidc {
      issuer                 = "https://idp.example.com/"
      authorization_endpoint = "https://idp.example.com/authorize"
      token_endpoint         = "https://idp.example.com/token"
      user_info_endpoint     = "https://idp.example.com/userinfo"
      client_id              = var.changed ? "other" : "shop"
      client_secret          = "secret"
    }
  }

  action {
    type = "forward"
    forward {
      target_group {
        arn    = aws_lb_target_group.plain.arn
        weight = 1
      }
      target_group {
        arn    = aws_lb_target_group.http2.arn
        weight = var.changed ? 0 : 1
      }
      stickiness {
        enabled  = true
        duration = 3600
      }
    }
  }

  condition {
    path_pattern {
      values = ["/account"]
    }
  }
}
