resource "aws_acm_certificate" "main" {
  for_each          = toset(["one", "two", "three"])
  certificate_body  = file("${path.module}/${each.key}.crt")
  private_key       = file("${path.module}/${each.key}.key")
}

resource "aws_lb_trust_store" "clients" {
  name                             = "clients"
  ca_certificates_bundle_s3_bucket = "bundles"
  ca_certificates_bundle_s3_key    = var.changed ? "two.pem" : "one.pem"
  tags                             = { changed = tostring(var.changed) }
}

resource "aws_lb_trust_store_revocation" "clients" {
  trust_store_arn       = aws_lb_trust_store.clients.arn
  revocations_s3_bucket = "bundles"
  revocations_s3_key    = "revoked.pem"
}

data "aws_lb_trust_store" "clients" {
  name       = "clients"
  depends_on = [aws_lb_trust_store.clients]
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.main.arn
  port              = var.changed ? 8080 : 80
  protocol          = "HTTP"

  routing_http_response_server_enabled                           = var.changed
  routing_http_response_x_content_type_options_header_value      = var.changed ? "" : "nosniff"
  routing_http_response_x_frame_options_header_value             = "DENY"
  routing_http_response_access_control_allow_origin_header_value = "https://example.com"

  default_action {
    type = "redirect"
    redirect {
      port        = "443"
      protocol    = "HTTPS"
      status_code = var.changed ? "HTTP_302" : "HTTP_301"
    }
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.main.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = var.changed ? "ELBSecurityPolicy-TLS13-1-2-Res-2021-06" : "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = aws_acm_certificate.main[var.changed ? "two" : "one"].arn

  mutual_authentication {
    mode                             = "verify"
    trust_store_arn                  = aws_lb_trust_store.clients.arn
    ignore_client_certificate_expiry = var.changed
    advertise_trust_store_ca_names   = var.changed ? "on" : "off"
  }

  routing_http_request_x_amzn_tls_version_header_name                = var.changed ? "X-Tls" : "X-Amzn-Tls-Version"
  routing_http_response_strict_transport_security_header_value       = "max-age=31536000; includeSubDomains"
  routing_http_request_x_amzn_mtls_clientcert_subject_header_name    = "X-Client-Subject"

  default_action {
    type = "forward"
    forward {
      target_group {
        arn    = aws_lb_target_group.plain.arn
        weight = var.changed ? 1 : 90
      }
      target_group {
        arn    = aws_lb_target_group.application_cookie.arn
        weight = 10
      }
      stickiness {
        enabled  = true
        duration = var.changed ? 600 : 60
      }
    }
  }
}

resource "aws_lb_listener_certificate" "more" {
  for_each        = toset(var.changed ? ["three"] : ["three", "two"])
  listener_arn    = aws_lb_listener.https.arn
  certificate_arn = aws_acm_certificate.main[each.key].arn
}

resource "aws_lb_listener" "passthrough" {
  load_balancer_arn = aws_lb.main.arn
  port              = 8443
  protocol          = "HTTPS"
  certificate_arn   = aws_acm_certificate.main["one"].arn

  mutual_authentication {
    mode = var.changed ? "off" : "passthrough"
  }

  default_action {
    type  = "authenticate-oidc"
    order = 1
    authenticate_oidc {
      issuer                              = "https://idp.example.com/"
      authorization_endpoint              = "https://idp.example.com/authorize"
      token_endpoint                      = "https://idp.example.com/token"
      user_info_endpoint                  = "https://idp.example.com/userinfo"
      client_id                           = "shop"
      client_secret                       = var.changed ? "other" : "secret"
      scope                               = "openid email"
      session_timeout                     = 3600
      on_unauthenticated_request          = var.changed ? "deny" : "authenticate"
      authentication_request_extra_params = { display = "page" }
    }
  }

  default_action {
    type             = "forward"
    order            = 2
    target_group_arn = aws_lb_target_group.http2.arn
  }
}

resource "aws_lb_listener" "internal" {
  load_balancer_arn = aws_lb.internal.arn
  port              = 80
  default_action {
    type = "fixed-response"
    fixed_response {
      content_type = "text/plain"
      message_body = var.changed ? "closed" : "soon"
      status_code  = "503"
    }
  }
}

data "aws_lb_listener" "https" {
  arn = aws_lb_listener.https.arn
}
