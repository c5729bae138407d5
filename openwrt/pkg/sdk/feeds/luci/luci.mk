# What the Makefile of a LuCI application needs of LuCI's luci.mk: the package of
# the application, and one for each language below po/. LuCI's own build also
# strips comments and blanks from the scripts, which is left out here.

LUCI_NAME ?= $(notdir $(CURDIR))
LUCI_TYPE ?= $(word 2,$(subst -, ,$(LUCI_NAME)))
LUCI_BASENAME ?= $(patsubst luci-$(LUCI_TYPE)-%,%,$(LUCI_NAME))
LUCI_LANGUAGES := $(sort $(filter-out templates,$(notdir $(wildcard po/*))))

# The languages' codes in LuCI, and their names for its menu.
LUCI_CODE.de := de
LUCI_LANG.de := Deutsch (German)
LUCI_CODE.zh_Hans := zh-cn
LUCI_LANG.zh_Hans := 简体中文 (Chinese Simplified)

PKG_NAME ?= $(LUCI_NAME)
PKG_RELEASE ?= 1
$(if $(PKG_VERSION),,$(error $(LUCI_NAME): PKG_VERSION is needed: only LuCI's own repository makes up one))

include $(INCLUDE_DIR)/package.mk

define Package/$(PKG_NAME)
  SECTION:=luci
  CATEGORY:=LuCI
  SUBMENU:=3. Applications
  TITLE:=$(LUCI_TITLE)
  URL:=$(LUCI_URL)
  DEPENDS:=$(LUCI_DEPENDS)
  PKGARCH:=all
endef

define Package/$(PKG_NAME)/description
$(or $(LUCI_DESCRIPTION),$(LUCI_TITLE))
endef

define Build/Prepare
	$(INSTALL_DIR) $(PKG_BUILD_DIR)
	for dir in htdocs root po; do \
		if test -d $$$$dir; then $(CP) $$$$dir $(PKG_BUILD_DIR)/; fi || exit 1; \
	done
endef

# A file's mode is that of the checkout without what its umask did.
define Package/$(PKG_NAME)/install
	$(INSTALL_DIR) $(1)/www
	if test -d $(PKG_BUILD_DIR)/htdocs; then cp -R $(PKG_BUILD_DIR)/htdocs/. $(1)/www/; fi
	if test -d $(PKG_BUILD_DIR)/root; then cp -R $(PKG_BUILD_DIR)/root/. $(1)/; fi
	chmod -R u=rwX,go=rX $(1)
endef

# LuCI caches its menu, and rpcd reads who may call what only when it starts.
define Package/$(PKG_NAME)/postinst
[ -n "$${IPKG_INSTROOT}" ] || {
	rm -rf /tmp/luci-indexcache* /tmp/luci-modulecache/
	/etc/init.d/rpcd reload
	exit 0
}
endef

# $(1): the language's code in LuCI, $(2): its folder below po/. The translations
# are installed as they are: what packs them makes .lmo files of them.
define LuciTranslation
define Package/luci-i18n-$(LUCI_BASENAME)-$(1)
  SECTION:=luci
  CATEGORY:=LuCI
  TITLE:=$(PKG_NAME) - $(1) translation
  URL:=$(LUCI_URL)
  DEPENDS:=+$(PKG_NAME)
  PKGARCH:=all
endef

define Package/luci-i18n-$(LUCI_BASENAME)-$(1)/description
Translation for $(PKG_NAME) - $(LUCI_LANG.$(2))
endef

define Package/luci-i18n-$(LUCI_BASENAME)-$(1)/install
	$(INSTALL_DIR) $$(1)/etc/uci-defaults $$(1)/usr/lib/lua/luci/i18n
	echo "uci set luci.languages.$(subst -,_,$(1))='$(LUCI_LANG.$(2))'; uci commit luci" \
		> $$(1)/etc/uci-defaults/luci-i18n-$(LUCI_BASENAME)-$(1)
	for po in $(PKG_BUILD_DIR)/po/$(2)/*.po; do \
		name=$$$$$$$${po##*/} && \
		$(INSTALL_DATA) $$$$$$$$po $$(1)/usr/lib/lua/luci/i18n/$$$$$$$${name%.po}.$(1).po || exit 1; \
	done
endef

LUCI_TRANSLATIONS += luci-i18n-$(LUCI_BASENAME)-$(1)
endef

$(foreach lang,$(LUCI_LANGUAGES),\
	$(if $(LUCI_LANG.$(lang)),,$(error po/$(lang): what this language is called is not known here))\
	$(eval $(call LuciTranslation,$(LUCI_CODE.$(lang)),$(lang))))
$(foreach name,$(PKG_NAME) $(LUCI_TRANSLATIONS),$(eval $(call BuildPackage,$(name))))
